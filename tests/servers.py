"""Real servers and services for tests, started by the code of `up`.

Call from the main thread: the system ends a service when the thread that started it ends.
"""

import fcntl
import os
import signal
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

from execfabric.local import commands, ports, postgres, valkey
from execfabric.local.endpoints import Endpoints
from execfabric.local.layout import PROJECT, DataDir
from execfabric.local.postgres import OWNER, SUPERUSER
from execfabric.local.service import Service, ServiceFailed, ServiceProcess

Kind = Literal["web", "worker", "keeper"]
PREPARED = "EXECFABRIC_TEST_PREPARED"
"""The path at which a test session has its prepared data directory."""


class TestServers:
    """Postgres and Valkey on a data directory of their own."""

    __test__ = False

    def __init__(self, directory: Path, *, durable: bool = False) -> None:
        self.data = DataDir(directory)
        self.data.prepare()
        self._running: list[ServiceProcess] = []
        try:
            app, owner = postgres.start(self.data, self._begin, durable=durable)
            broker = valkey.start(self.data, self._begin)
            self.endpoints = Endpoints(
                database_url=app, owner_database_url=owner, redis_url=broker
            )
            if not durable:
                self._allow_skipping_triggers()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop both; nothing of them is left running."""
        while self._running:
            self._running.pop().stop()

    def restart_postgres(self) -> None:
        """Have the server end at once, without a checkpoint, and start it again."""
        self._restart("postgres", signal.SIGQUIT)

    def restart_broker(self) -> None:
        """SIGKILL to the broker, and start it again."""
        self._restart("valkey", signal.SIGKILL)

    def _restart(self, name: str, by: signal.Signals) -> None:
        [server] = [one for one in self._running if one.service.name == name]
        os.kill(server.pid, by)
        eventually(lambda: not server.alive, within=60)
        server.kill()
        server.start()
        server.await_ready()

    def fresh_database(
        self, name: str, env: Mapping[str, str] | None = None
    ) -> Endpoints:
        """Create a database as `up` does: migrated, rights granted, skills synced.

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
        _prepare(made, env or {})
        return made

    def _allow_skipping_triggers(self) -> None:
        """Let the tables' owner, as whom tests run, put rows back past the triggers."""
        port = urlsplit(self.endpoints.owner_database_url).port or 0
        url = postgres.url(self.data, port, SUPERUSER, "postgres")
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(
                f"GRANT SET ON PARAMETER session_replication_role TO {OWNER}"
            )

    def _begin(self, wanted: Service) -> None:
        self._running.append(begin_and_wait(wanted))


def prepare_data(directory: Path) -> Path:
    """Create a data directory with a prepared database, as `up` leaves it.

    It is a copy: all processes of a test session prepare the database once.
    """
    original = Path(os.environ[PREPARED])
    with original.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not original.exists():
            # Renamed when complete: an interrupted start leaves no half a database.
            _prepared(original.with_suffix(".new")).rename(original)
    directory.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", "-T", original, directory], check=True)
    return directory


def _prepared(directory: Path) -> Path:
    servers = start_servers(directory)
    try:
        _prepare(servers.endpoints, {})
    finally:
        servers.stop()
    return directory


def start_servers(directory: Path) -> TestServers:
    """Start Postgres and Valkey under `directory`; `.stop()` ends them."""
    return TestServers(directory)


def begin_and_wait(wanted: Service) -> ServiceProcess:
    """Start a service and wait until it is ready; an error contains its output."""
    running = ServiceProcess(wanted)
    try:
        running.await_ready()
    except BaseException as error:
        running.kill()
        if isinstance(error, ServiceFailed):
            raise ServiceFailed(f"{error}\n{running.output()}") from error
        raise
    return running


@dataclass
class Spawned:
    """A service of the product in its own process tree."""

    running: ServiceProcess
    url: str
    """The address of the web server; empty for the others."""
    log: Path
    """The file with all output; it stays after the end."""

    @property
    def pid(self) -> int:
        """The first process of the service."""
        return self.running.pid

    @property
    def alive(self) -> bool:
        """Return True if the first process of the service runs."""
        return self.running.alive

    def wait_ready(self, timeout: float = 60) -> "Spawned":
        """Wait for the readiness gate of the service."""
        self.running.service = replace(self.running.service, ready_within=timeout)
        self.running.await_ready()
        return self

    def kill9(self) -> None:
        """SIGKILL to the whole tree."""
        self.running.kill()
        self._close()

    def stop(self) -> None:
        """Stop it as the supervisor would."""
        self.running.stop()
        self._close()

    def log_text(self) -> str:
        """Return all output so far."""
        return self.log.read_text(encoding="utf-8")

    def _close(self) -> None:
        if self.running.log:
            self.running.log.close()


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
    log = (folder / "log").open("ab", buffering=0)
    try:
        return Spawned(ServiceProcess(wanted, log), url, folder / "log")
    except BaseException:
        log.close()
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
    """Return the environment of a part: this process's, updated with `env`."""
    return {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "execfabric.settings",
        "PYTHONPATH": str(PROJECT),
        "PYTHONUNBUFFERED": "1",
        **env,
    }


def _prepare(endpoints: Endpoints, env: Mapping[str, str]) -> None:
    full = environment({"REDIS_URL": endpoints.redis_url, **env})
    subprocess.run(
        commands.prepare(demo=False),
        env=full | {"DATABASE_URL": endpoints.owner_database_url},
        cwd=PROJECT,
        check=True,
        capture_output=True,
    )


def _on_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
