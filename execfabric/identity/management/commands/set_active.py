"""Activate or deactivate a user or an agent."""

from typing import Any

from django.core.management.base import CommandParser

from execfabric.identity import people
from execfabric.identity.management.command import BY, AccountCommand
from execfabric.lib import clock


class Command(AccountCommand):
    help = (
        "Activate (`on`) or deactivate (`off`) a user or an agent. The sessions and"
        " tokens of a deactivated account stop working at once."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "name", help="name of the user, or with --agent of the agent"
        )
        parser.add_argument("state", choices=["on", "off"])
        parser.add_argument("--agent", action="store_true", help="NAME is an agent")

    def run(self, **options: Any) -> None:
        name, active, at = options["name"], options["state"] == "on", clock.now()
        if options["agent"]:
            people.set_agent_active(name=name, active=active, by=BY, at=at)
        else:
            people.set_active(username=name, active=active, by=BY, at=at)
        self.stdout.write(f"{name}: {'active' if active else 'deactivated'}")
