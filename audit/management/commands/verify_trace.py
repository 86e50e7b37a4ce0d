"""Check the record; exit 1 and name the first broken event of each broken stream."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit import selectors
from audit.errors import StreamUnknown


class Command(BaseCommand):
    help = "Verify every stream of the record, or one (`run:<id>`, `registry`, ...)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("stream", nargs="?", default="")

    def handle(self, *args: Any, **options: Any) -> None:
        key = options["stream"]
        try:
            results = [selectors.verify_stream(key)] if key else selectors.verify_all()
        except StreamUnknown as error:
            raise CommandError(f"{error.code}: {error}", returncode=2) from error
        broken = 0
        for result in results:
            if result.broken is None:
                self.stdout.write(f"ok      {result.stream}: {result.events} events")
                continue
            broken += 1
            found = result.broken
            self.stdout.write(
                f"BROKEN  {result.stream} at seq {found.seq}: {found.reason}"
                f" (expected {found.expected}, found {found.found})"
            )
        if broken:
            raise CommandError(f"{broken} broken stream(s)", returncode=1)
