"""An installation of its own for a program that is no pytest session.

Postgres, Valkey, a prepared database and the environment that every part needs.
Django is set up for it, so only afterwards may models and services be imported.
"""

import os
import shutil
import subprocess
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
    servers: TestServers
    disk: Path | None = None
    """The mount of the small disk that has the artifacts, if one could be mounted."""


@contextmanager
def on_stage(
    *, durable: bool, env: Mapping[str, str], disk_mb: int = 0
) -> Iterator[Stage]:
    """Servers and a prepared database for the body; nothing is left afterwards.

    The program and its parts use the application's role, as in production. With
    `disk_mb` artifacts are on a disk of that size, where one can be mounted.
    """
    home = Path(tempfile.mkdtemp(prefix="execfabric-stage-"))
    running: TestServers | None = None
    disk = _mounted(home / "disk", disk_mb) if disk_mb else None
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
        if disk:
            told["EXECFABRIC_ARTIFACT_DIR"] = str(disk)
        endpoints = running.fresh_database(DATABASE, told)
        told["DATABASE_URL"] = endpoints.database_url
        told["REDIS_URL"] = endpoints.redis_url
        for name in ("DATABASE_URL_FILE", "REDIS_URL_FILE", "SECRET_KEY_FILE"):
            os.environ.pop(name, None)
        os.environ |= told
        django.setup()
        yield Stage(endpoints, witness, told, running, disk)
    finally:
        if running is not None:
            running.stop()
        if disk:
            subprocess.run(["umount", "-l", str(disk)], check=False)
        shutil.rmtree(home, ignore_errors=True)


def _mounted(folder: Path, megabytes: int) -> Path | None:
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "chaos", folder]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError:
        return None
    return folder if done.returncode == 0 else None
