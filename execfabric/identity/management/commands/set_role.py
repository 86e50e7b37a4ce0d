"""Set the roles of a user."""

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

    def run(self, **options: Any) -> None:
        at = clock.now()
        roles = sorted({Role(name) for name in options["roles"] if name != NONE})
        people.ensure_roles(by=BY, at=at)
        people.set_roles(username=options["name"], roles=roles, by=BY, at=at)
        self.stdout.write(f"{options['name']}: {', '.join(roles) or 'no role'}")
