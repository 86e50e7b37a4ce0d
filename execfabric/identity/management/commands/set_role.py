from typing import Any

from django.core.management.base import CommandParser

from execfabric.identity import people
from execfabric.identity.management.command import BY, AccountCommand
from execfabric.lib import clock
from execfabric.lib.rights import Role

NONE = "none"


class Command(AccountCommand):
    help = "Set the roles of a user. `none` removes all roles."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name")
        parser.add_argument(
            "roles", nargs="+", choices=[*(str(role) for role in Role), NONE]
        )

    def run(self, name: str, roles: list[str], **_options: Any) -> None:
        at = clock.now()
        wanted = sorted({Role(role) for role in roles if role != NONE})
        people.ensure_roles(by=BY, at=at)
        people.set_roles(username=name, roles=wanted, by=BY, at=at)
        self.stdout.write(f"{name}: {', '.join(wanted) or 'no role'}")
