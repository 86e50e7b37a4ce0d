from typing import Any

from django.core.management.base import CommandParser

from execfabric.identity import links
from execfabric.identity.management.command import BY, AccountCommand, address
from execfabric.lib import clock


class Command(AccountCommand):
    help = "Print a one-time link to set a user's password. It replaces an older link."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")

    def run(self, name: str, **_options: Any) -> None:
        link = links.create_password_link(username=name, by=BY, at=clock.now())
        self.stdout.write(address(link))
