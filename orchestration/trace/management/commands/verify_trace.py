"""Verify the audit log; exit with 1 and list what differs."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from audit.domain.chain import Verified
from audit.errors import StreamUnknown
from orchestration.trace.services import streams


class Command(BaseCommand):
    help = "Verify every stream of the audit log, or one (`run:<id>`, `registry`, ...)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("stream", nargs="?", default="")

    def handle(self, *args: Any, **options: Any) -> None:
        key = options["stream"]
        try:
            results = [streams.verify_stream(key)] if key else streams.verify_all()
        except StreamUnknown as error:
            raise CommandError(f"{error.code}: {error}", returncode=2) from error
        broken = sum(not self._print(result) for result in results)
        if broken:
            raise CommandError(f"{broken} broken stream(s)", returncode=1)

    def _print(self, result: Verified) -> bool:
        if broken := result.broken:
            self.stdout.write(
                f"BROKEN  {result.stream} at seq {broken.seq}: {broken.reason}"
                f" (expected {broken.expected}, found {broken.found})"
            )
        for difference in result.differences:
            self.stdout.write(f"DIFFERS {result.stream}: {difference}")
        if result.whole:
            more = f", outputs of {result.outputs} steps" if result.outputs else ""
            less = f" ({result.uncovered} rows not covered)" if result.uncovered else ""
            self.stdout.write(
                f"ok      {result.stream}: {result.events} events{more}{less}"
            )
        return result.whole
