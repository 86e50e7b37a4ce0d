"""Prepare database and static files in one process, to save time.

The supervisor runs it as a program; nothing imports it, because it loads Django.
"""

import os
import sys

import django
from django.conf import settings
from django.core.management import call_command


def main(*, demo: bool) -> None:
    """Migrate, grant rights, register skills, create the demo, collect static files."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "execfabric.settings")
    django.setup()
    call_command("migrate", interactive=False)
    call_command("grant_app_role")
    call_command("sync_skills")
    if demo:
        call_command("seed_demo")
    if settings.HASHED_STATIC:
        # Only what the pages use: compressing all files takes seconds.
        unused = ["*-4.*", "guardian", "ninja"]
        call_command(
            "collectstatic", interactive=False, verbosity=0, ignore_patterns=unused
        )


if __name__ == "__main__":
    main(demo="--demo" in sys.argv[1:])
