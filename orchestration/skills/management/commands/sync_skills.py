"""Register the installed skills and say where code and registry differ."""

from typing import Any

from django.core.management.base import BaseCommand

from execfabric.lib import clock
from orchestration.skills.services import sync


class Command(BaseCommand):
    help = "Register installed skills; warn of published code that is not installed."

    def handle(self, *args: Any, **options: Any) -> None:
        slugs = sync.sync(at=clock.now())
        self.stdout.write(f"{len(slugs)} skills: {', '.join(slugs)}")
        for found in sync.mismatches():
            self.stderr.write(
                f"{found.skill} {found.version}: the code of {found.handler} here is not"
                " the published one; its steps are refused until a version with this"
                " code is published."
            )
