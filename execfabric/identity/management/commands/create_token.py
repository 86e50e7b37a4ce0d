"""Create an API token; print its text once, on the last line."""

from typing import Any

from django.core.management.base import CommandParser

from execfabric.identity import services
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

    def run(self, **options: Any) -> None:
        shared = {"label": options["label"], "days": options["days"]}
        name, at = options["name"], clock.now()
        if options["agent"]:
            text = services.create_agent_token(name=name, by=BY, at=at, **shared)
        else:
            text = services.create_token(username=name, by=BY, at=at, **shared)
        self.stdout.write(text)
