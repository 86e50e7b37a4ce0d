"""Real servers and real parts for tests, started by the code behind `up`.

Call from the main thread: the system ends a part when the thread that started it ends.
"""

import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from execfabric.local import commands, part, ports, servers
from execfabric.local.endpoints import Endpoints
from execfabric.local.journal import Journal
from execfabric.local.layout import PROJECT, DataDir
from execfabric.local.part import Part, Running
from execfabric.local.postgres import OWNER, SUPERUSER, Postgres

Kind = Literal["web", "worker", "keeper"]


class TestServers:
    """Postgres and Valkey on a data directory of their own."""

    __test__ = False

    def __init__(self, directory: Path) -> None:
        self.data = DataDir(directory)
        self.data.prepare()
        self._running: list[Running] = []
        try:
            self.endpoints = servers.start_both(self.data, self._begin, durable=False)
            self._allow_skipping_triggers()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop both; nothing of them is left running."""
        while self._running:
            self._running.pop().stop()

    def fresh_database(
        self, name: str, env: Mapping[str, str] | None = None
    ) -> Endpoints:
        """A new database as `up` prepares one: migrated, rights granted, skills synced.

        `env` goes over the environment of the commands that prepare it.
        """
        owner = self.endpoints.owner_database_url
        with psycopg.connect(owner, autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
            )
        made = replace(
            self.endpoints,
            database_url=_on_database(self.endpoints.database_url, name),
            owner_database_url=_on_database(owner, name),
        )
        told = environment({"REDIS_URL": made.redis_url, **(env or {})})
        subprocess.run(
            commands.prepare(demo=False),
            env=told | {"DATABASE_URL": made.owner_database_url},
            cwd=PROJECT,
            check=True,
            capture_output=True,
        )
        return made

    def _allow_skipping_triggers(self) -> None:
        """Let the tables' owner, as whom tests run, put rows back past the triggers."""
        port = urlsplit(self.endpoints.owner_database_url).port or 0
        url = Postgres(self.data, port).url(SUPERUSER, "postgres")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                f"GRANT SET ON PARAMETER session_replication_role TO {OWNER}"
            )

    def _begin(self, wanted: Part) -> Running:
        running = servers.begin_and_wait(wanted)
        self._running.append(running)
        return running


def start_servers(directory: Path) -> TestServers:
    """Start Postgres and Valkey under `directory`; `.stop()` ends them."""
    return TestServers(directory)


@dataclass
class Spawned:
    """A part of the product in a process tree of its own."""

    running: Running
    url: str
    """Where the web server answers; empty for the others."""
    journal: Journal

    @property
    def log(self) -> Path:
        """The file with everything it says; it stays after the end."""
        return self.journal.path

    @property
    def pid(self) -> int:
        """The part's first process."""
        return self.running.identity.pid

    @property
    def alive(self) -> bool:
        """Whether the part's first process still runs."""
        return self.running.alive

    def wait_ready(self, timeout: float = 60) -> "Spawned":
        """Wait for the part's own readiness gate."""
        self.running.part = replace(self.running.part, ready_within=timeout)
        part.await_ready(self.running)
        return self

    def kill9(self) -> None:
        """SIGKILL to the whole tree."""
        self.running.kill()
        self.journal.close()

    def stop(self) -> None:
        """Stop it as the supervisor would."""
        self.running.stop()
        self.journal.close()

    def log_text(self) -> str:
        """Everything it has said so far."""
        return self.log.read_text(encoding="utf-8")


def spawn(kind: Kind, env: Mapping[str, str], **options: Any) -> Spawned:
    """Start a web server, a worker or a keeper with `env` over the present environment.

    Options: `port` for web; `concurrency` and `name` for a worker.
    """
    told = environment(env)
    folder = Path(tempfile.mkdtemp(prefix=f"execfabric-{kind}-"))
    url = ""
    if kind == "web":
        port = options.pop("port", None) or ports.any_free()
        url = f"http://{ports.HOST}:{port}"
        wanted = commands.web(told, port=port)
    elif kind == "worker":
        wanted = commands.worker(told, **options)
    else:
        wanted = commands.keeper(told, ready_file=folder / "ready")
    journal = Journal(folder / "log")
    try:
        return Spawned(part.start(wanted, journal), url, journal)
    except BaseException:
        journal.close()
        raise


def eventually(true: Callable[[], object], within: float = 15) -> bool:
    """Whether it becomes true within so many seconds."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        if true():
            return True
        time.sleep(0.05)
    return False


def environment(env: Mapping[str, str]) -> dict[str, str]:
    """The environment of a part: the present one with `env` over it."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "execfabric.settings",
        "PYTHONPATH": str(PROJECT),
        "PYTHONUNBUFFERED": "1",
        **env,
    }


def _on_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
