"""Make a token for a person; its text is printed once, on the last line."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from execfabric.accounts import services
from execfabric.accounts.errors import AccountUnknown
from execfabric.lib import clock
from execfabric.lib.actor import system


class Command(BaseCommand):
    help = "Make an API token for a person. It is shown once and never stored."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("username")
        parser.add_argument("--days", type=int, help="valid for so many days")
        parser.add_argument("--label", default="", help="what it is for")

    def handle(self, *args: Any, **options: Any) -> None:
        days = options["days"]
        if days is not None and days < 1:
            raise CommandError("--days must be at least 1", returncode=2)
        try:
            text = services.create_token(
                username=options["username"],
                label=options["label"],
                days=days,
                by=system("command"),
                at=clock.now(),
            )
        except AccountUnknown as error:
            raise CommandError(f"{error.code}: {error}", returncode=2) from error
        self.stdout.write(text)
