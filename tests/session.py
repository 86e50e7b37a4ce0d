"""Servers of the test session's own, up before Django reads its settings.

Importing this module starts them: pytest-django and every other conftest import
Django's settings as soon as they are loaded, so no later moment is early enough.
"""

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import django
from django.conf import settings

from tests.servers import PREPARED, TestServers, start_servers

NESTED = "PYTEST_XDIST_WORKER"
"""Set in the workers of pytest-xdist: they use the servers of their master."""


def start() -> "tuple[Path, TestServers] | None":
    """Start the servers, set the environment, set Django up."""
    started = None
    if NESTED not in os.environ:
        home = Path(tempfile.mkdtemp(prefix="execfabric-tests-"))
        data = home / "data"
        servers = start_servers(data)
        started = (home, servers)
        for name in ("DATABASE_URL_FILE", "REDIS_URL_FILE", "SECRET_KEY_FILE"):
            os.environ.pop(name, None)
        os.environ |= {
            "DJANGO_SETTINGS_MODULE": "execfabric.settings",
            "DATABASE_URL": servers.endpoints.owner_database_url,
            "REDIS_URL": servers.endpoints.redis_url,
            "SECRET_KEY": servers.data.secret_key(),
            "EXECFABRIC_ENV": "development",
            "EXECFABRIC_DEMO": "false",
            "EXECFABRIC_DATA_DIR": str(data),
            "EXECFABRIC_EXTRA_HANDLERS": "tests.handlers",
            "EXECFABRIC_TEST_WITNESS": str(home / "witness"),
            PREPARED: str(home / "prepared"),
            "EXECFABRIC_SECRET_LAB_TOKEN": "laboratory-secret-token",
        }
    else:
        # Two of them at once must not count each other's effects.
        os.environ["EXECFABRIC_TEST_WITNESS"] += f"-{os.environ[NESTED]}"
    django.setup()
    return started


def stop() -> None:
    """Stop the servers and remove all they wrote; a second call does nothing."""
    global STARTED  # noqa: PLW0603  one session, one pair of servers
    if STARTED:
        home, servers = STARTED
        STARTED = None
        servers.stop()
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(settings.WORKER_DIR, ignore_errors=True)


STARTED = start()
atexit.register(stop)
