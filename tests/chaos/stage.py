"""An installation of its own for a program that is no pytest session.

Postgres, Valkey, a prepared database and the environment that every part needs.
Django is set up for it, so only afterwards may models and services be imported.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import django

from execfabric.local.endpoints import Endpoints
from tests.servers import TestServers

DATABASE = "stage"


@dataclass(frozen=True)
class Stage:
    """What a program on this stage works with."""

    endpoints: Endpoints
    witness: Path
    env: Mapping[str, str]
    """The environment of this program, and of the parts it starts."""


@contextmanager
def on_stage(*, durable: bool, env: Mapping[str, str]) -> Iterator[Stage]:
    """Servers and a prepared database for the body; nothing is left afterwards.

    The program and its parts use the application's role, as in production.
    """
    home = Path(tempfile.mkdtemp(prefix="execfabric-stage-"))
    running: TestServers | None = None
    try:
        running = TestServers(home / "data", durable=durable)
        witness = home / "witness"
        told = {
            "DJANGO_SETTINGS_MODULE": "execfabric.settings",
            "SECRET_KEY": running.data.secret_key(),
            "EXECFABRIC_ENV": "development",
            "EXECFABRIC_DEMO": "false",
            "EXECFABRIC_DATA_DIR": str(home / "data"),
            "EXECFABRIC_EXTRA_HANDLERS": "tests.handlers",
            "EXECFABRIC_TEST_WITNESS": str(witness),
            "EXECFABRIC_SECRET_LAB_TOKEN": "laboratory-secret-token",
            "EXECFABRIC_LOG_LEVEL": "WARNING",
            # One proposer proposes for all.
            "EXECFABRIC_DRY_RUNS_PER_ACTOR": "10000",
            "TMPDIR": str(home),
            **env,
        }
        endpoints = running.fresh_database(DATABASE, told)
        told["DATABASE_URL"] = endpoints.database_url
        told["REDIS_URL"] = endpoints.redis_url
        for name in ("DATABASE_URL_FILE", "REDIS_URL_FILE", "SECRET_KEY_FILE"):
            os.environ.pop(name, None)
        os.environ |= told
        django.setup()
        yield Stage(endpoints, witness, told)
    finally:
        if running is not None:
            running.stop()
        shutil.rmtree(home, ignore_errors=True)
