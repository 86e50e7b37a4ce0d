"""Two installations on one host must not share cookies."""

import os
import subprocess
import sys

from execfabric.local.layout import PROJECT

NAMES = (
    "from django.conf import settings as s; print(s.SESSION_COOKIE_NAME,"
    " s.CSRF_COOKIE_NAME, s.KNOWN_BROWSER_COOKIE_NAME)"
)


def names(key: str, mode: str) -> list[str]:
    settings = {
        "DJANGO_SETTINGS_MODULE": "execfabric.settings",
        "SECRET_KEY": key,
        "EXECFABRIC_ENV": mode,
        "EXECFABRIC_DEMO": "false",
    }
    done = subprocess.run(
        [sys.executable, "-c", NAMES],
        env=os.environ | settings,
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def test_each_installation_has_cookie_names_of_its_own() -> None:
    one, other = names("one", "development"), names("other", "development")

    assert one == names("one", "development")
    assert len({*one, *other}) == 6


def test_in_production_no_other_host_can_set_them() -> None:
    assert all(name.startswith("__Host-") for name in names("key", "production"))
