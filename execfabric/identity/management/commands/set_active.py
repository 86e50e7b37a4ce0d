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

    def run(self, name: str, state: str, *, agent: bool, **_options: Any) -> None:
        active, at = state == "on", clock.now()
        people.set_active(name=name, active=active, is_agent=agent, by=BY, at=at)
        self.stdout.write(f"{name}: {'active' if active else 'deactivated'}")
