"""Create an agent and its token; the token is printed once, on the last line."""

from typing import Any

from django.core.management.base import CommandParser

from execfabric.identity import services
from execfabric.identity.management.command import BY, AccountCommand
from execfabric.lib import clock


class Command(AccountCommand):
    help = (
        "Create an agent that answers to a user. Its token can propose and read;"
        " it can never decide, control a run or change the registry."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        parser.add_argument("--owner", required=True, help="username of the owner")

    def run(self, **options: Any) -> None:
        _, text = services.create_agent(
            name=options["name"], owner=options["owner"], by=BY, at=clock.now()
        )
        self.stdout.write(text)
