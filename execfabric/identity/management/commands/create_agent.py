from typing import Any

from django.core.management.base import CommandParser

from execfabric.identity import services
from execfabric.identity.management.command import BY, AccountCommand
from execfabric.lib import clock


class Command(AccountCommand):
    help = (
        "Create an agent with an owner, and print its token. An agent can propose"
        " plans and read. It cannot approve, control runs or change skills."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        parser.add_argument(
            "--owner", required=True, help="name of the user who is responsible for it"
        )

    def run(self, name: str, owner: str, **_options: Any) -> None:
        at = clock.now()
        _, text = services.create_agent(name=name, owner=owner, by=BY, at=at)
        self.stdout.write(text)
