"""Bring the database up to date, as a child of the supervisor.

Four management commands in one process: Django is loaded once, not four times. The
only module here that needs Django, and the only one that nothing imports.
"""

import os
import sys

import django
from django.core.management import call_command


def main(*, demo: bool) -> None:
    """Migrate, grant, register the skills, and set up the demo where it is wanted."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "execfabric.settings")
    django.setup()
    call_command("migrate", interactive=False)
    call_command("grant_app_role")
    call_command("sync_skills")
    if demo:
        call_command("seed_demo")


if __name__ == "__main__":
    main(demo="--demo" in sys.argv[1:])
