"""Set the demo up: users by role, data made from this machine, a run that waits."""

from typing import Any

from django.core.management.base import BaseCommand

from execfabric.lib import clock
from orchestration.runs.services import demo


class Command(BaseCommand):
    help = "Set up the demo (only with EXECFABRIC_DEMO=true)."

    def handle(self, *args: Any, **options: Any) -> None:
        run = demo.seed(at=clock.now())
        self.stdout.write(
            f"run {run.id} waits at its plan gate" if run else "demo is set up"
        )
