from typing import Any

from django.core.management.base import BaseCommand

from execfabric.lib import clock
from orchestration.skills.services import sync
from orchestration.skills.services.sync import Happened, Synced

WORDS = {
    Happened.REGISTERED: "{slug}: registered version {version}.",
    Happened.PUBLISHED: "{slug}: published the shipped version as {version}.",
    Happened.REBOUND: "{slug}: published version {version} with the installed code.",
    Happened.WAITING: "{slug}: a new shipped version is waiting as draft {version}."
    " Review and publish it on /skills/{slug}.",
    Happened.FAILED: "{slug}: cannot register the shipped version. The skill is unchanged.",
    Happened.UNCHANGED: "{slug}: unchanged.",
}
WARNED = frozenset({Happened.WAITING, Happened.FAILED})


class Command(BaseCommand):
    help = "Register installed skills and warn about code that is not installed."

    def handle(self, *args: Any, **options: Any) -> None:
        done = sync.sync(at=clock.now())
        slugs = sorted({one.slug for one in done})
        self.stdout.write(f"{len(slugs)} skills: {', '.join(slugs)}")
        for one in done:
            if one.happened is not Happened.UNCHANGED or one.notes:
                self._tell(one)
        for pin, handler in sync.mismatches():
            self.stderr.write(
                f"{pin.slug} {pin.version}: the installed code of {handler} is not the published code. New plans cannot use it,"
                " and approved steps need a new approval. Publish a new version."
            )

    def _tell(self, one: Synced) -> None:
        out = self.stderr if one.happened in WARNED else self.stdout
        out.write(WORDS[one.happened].format(slug=one.slug, version=one.version))
        for note in one.notes:
            out.write(f"  {note}")
