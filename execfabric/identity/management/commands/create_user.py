from typing import Any

from django.core.management.base import CommandParser

from execfabric.identity import links, people
from execfabric.identity.management.command import BY, AccountCommand, address
from execfabric.lib import clock
from execfabric.lib.rights import Role


class Command(AccountCommand):
    help = "Create a user, and print a one-time link to set their password."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        parser.add_argument(
            "--role", required=True, choices=[str(role) for role in Role]
        )
        parser.add_argument("--email", default="")

    def run(self, name: str, role: str, email: str, **_options: Any) -> None:
        at = clock.now()
        people.ensure_roles(by=BY, at=at)
        user = people.create_user(
            username=name, roles=[Role(role)], email=email, by=BY, at=at
        )
        link = links.create_password_link(username=user.get_username(), by=BY, at=at)
        self.stdout.write(f"Created {user} ({role}). This link works once, for 3 days:")
        self.stdout.write(address(link))
