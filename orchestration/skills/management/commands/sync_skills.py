"""Register the installed skills and say what an admin should look at."""

from typing import Any

from django.core.management.base import BaseCommand

from execfabric.lib import clock
from orchestration.skills.services import sync
from orchestration.skills.services.shipped import Happened, Synced

WORDS = {
    Happened.REGISTERED: "{slug}: version {version} is registered.",
    Happened.PUBLISHED: "{slug}: the shipped version is published as {version}.",
    Happened.REBOUND: "{slug}: version {version} is published with the installed code.",
    Happened.WAITING: "{slug}: a new shipped version is waiting as draft {version}."
    " Review and publish it on /skills/{slug}.",
    Happened.FAILED: "{slug}: cannot take the shipped version. The skill is unchanged.",
    Happened.UNCHANGED: "{slug}: unchanged.",
}
WARNED = frozenset({Happened.WAITING, Happened.FAILED})


class Command(BaseCommand):
    help = "Register installed skills; warn of published code that is not installed."

    def handle(self, *args: Any, **options: Any) -> None:
        done = sync.sync(at=clock.now())
        slugs = sorted({one.slug for one in done})
        self.stdout.write(f"{len(slugs)} skills: {', '.join(slugs)}")
        for one in done:
            if one.happened is not Happened.UNCHANGED or one.notes:
                self._tell(one)
        for found in sync.mismatches():
            self.stderr.write(
                f"{found.skill} {found.version}: the code of {found.handler} here is not"
                " the published one; new plans cannot use it, and approved steps ask"
                " again, until a version with this code is published."
            )

    def _tell(self, one: Synced) -> None:
        out = self.stderr if one.happened in WARNED else self.stdout
        out.write(WORDS[one.happened].format(slug=one.slug, version=one.version))
        for note in one.notes:
            out.write(f"  {note}")
