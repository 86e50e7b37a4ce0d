"""Prepare the database: four management commands in one process, to save time.

The supervisor runs it as a program; nothing imports it, because it loads Django.
"""

import os
import sys

import django
from django.core.management import call_command


def main(*, demo: bool) -> None:
    """Migrate, grant rights, register the skills, and create the demo if requested."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "execfabric.settings")
    django.setup()
    call_command("migrate", interactive=False)
    call_command("grant_app_role")
    call_command("sync_skills")
    if demo:
        call_command("seed_demo")


if __name__ == "__main__":
    main(demo="--demo" in sys.argv[1:])
