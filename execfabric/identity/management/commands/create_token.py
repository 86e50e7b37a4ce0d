from typing import Any

from django.core.management.base import CommandParser

from execfabric.identity import people, services
from execfabric.identity.management.command import BY, AccountCommand
from execfabric.lib import clock


class Command(AccountCommand):
    help = "Create an API token and print it. The token is not stored."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "name", help="name of the user, or with --agent of the agent"
        )
        parser.add_argument("--agent", action="store_true", help="NAME is an agent")
        parser.add_argument(
            "--days", type=int, help="days until it expires; never if left out"
        )
        parser.add_argument("--label", default="", help="a note on its use")

    def run(
        self, name: str, *, agent: bool, days: int | None, label: str, **_options: Any
    ) -> None:
        holder = people.agent_named(name) if agent else people.user_named(name)
        text = services.create_token(
            holder=holder, label=label, days=days, by=BY, at=clock.now()
        )
        self.stdout.write(text)
