"""One live installation for the browser tests, as `make up` would leave it."""

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, LiteralString

import psycopg
import redis

from execfabric.local import commands, ports
from execfabric.local.endpoints import Endpoints
from execfabric.local.layout import PROJECT
from execfabric.local.postgres import WAREHOUSE_SECRET
from execfabric.local.service import Service, ServiceProcess
from tests.servers import TestServers, environment, prepare_data, start_servers

CONCURRENCY = 2
LAST = 20_000
"""Bytes of output to show."""


@dataclass
class Stack:
    """Servers, a seeded demo and the three parts, which hold the restricted role."""

    servers: TestServers
    endpoints: Endpoints
    env: dict[str, str]
    port: int
    log: BinaryIO
    """What the parts print."""
    parts: dict[str, ServiceProcess] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Where the console answers."""
        return f"http://{ports.HOST}:{self.port}"

    @property
    def demo(self) -> Path:
        """The folder of the demo's data."""
        return self.servers.data.root / "demo"

    def password(self, role: str) -> str:
        """Return the password of a demo user, as the start prints it."""
        known = json.loads((self.servers.data.run / "demo.json").read_text())
        return str(next(one["password"] for one in known if one["role"] == role))

    def rows(self, query: LiteralString, *values: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query as the owner of the database."""
        with psycopg.connect(self.endpoints.owner_database_url) as connection:
            return connection.execute(query, values).fetchall()

    def warehouse(self, query: LiteralString) -> list[tuple[Any, ...]]:
        """Return the rows of a query on the demo warehouse."""
        dsn = (self.servers.data.secrets / WAREHOUSE_SECRET).read_text()
        with psycopg.connect(dsn) as connection:
            return connection.execute(query).fetchall()

    def events(self, run: str) -> list[int]:
        """Return the sequence numbers of a run's events."""
        query = "SELECT seq FROM audit_event WHERE stream = %s ORDER BY seq"
        return [seq for (seq,) in self.rows(query, f"run:{run}")]

    def flip_a_bit(self, run: str, seq: int) -> None:
        """Change one byte of an event, as only the owner could; again mends it."""
        with psycopg.connect(self.endpoints.owner_database_url) as connection:
            connection.execute("ALTER TABLE audit_event DISABLE TRIGGER USER")
            changed = connection.execute(
                "UPDATE audit_event SET body = set_byte(body, 20, get_byte(body, 20) # 1)"
                " WHERE stream = %s AND seq = %s",
                (f"run:{run}", seq),
            )
            assert changed.rowcount == 1
            connection.execute("ALTER TABLE audit_event ENABLE TRIGGER USER")

    def kill_web(self) -> None:
        """SIGKILL to the web server."""
        self.parts.pop("web").kill()

    def start_web(self) -> None:
        """Start the web server on its port."""
        self._begin(commands.web(environment(self.env), port=self.port))

    @contextmanager
    def another_web(self, **env: str) -> Iterator[str]:
        """Start a second web server on the same database; return its address."""
        port = ports.any_free()
        told = environment(self.env | env)
        running = ServiceProcess(commands.web(told, port=port))
        try:
            running.await_ready()
            yield f"http://{ports.HOST}:{port}"
        finally:
            running.stop()

    def start_parts(self) -> None:
        """Start web server, worker and keeper side by side, and wait for them."""
        told = environment(self.env)
        ready = self.servers.data.run / "keeper-ready"
        self._begin(
            commands.web(told, port=self.port),
            commands.worker(told, concurrency=CONCURRENCY),
            commands.keeper(told, ready_file=ready),
        )

    def wipe_broker(self) -> None:
        """Empty the broker and the channel layer."""
        with redis.Redis.from_url(self.endpoints.redis_url) as client:
            client.flushall()

    def printed(self) -> str:
        """Return the last lines that the parts printed."""
        return Path(self.log.name).read_bytes()[-LAST:].decode(errors="replace")

    def stop(self) -> None:
        """Stop every part, then the servers."""
        for running in self.parts.values():
            running.stop()
        self.log.close()
        self.servers.stop()

    def _begin(self, *wanted: Service) -> None:
        for one in wanted:
            self.parts[one.name] = ServiceProcess(one, log=self.log)
        for one in wanted:
            self.parts[one.name].await_ready()


@contextmanager
def running(**more: str) -> Iterator[Stack]:
    """Run an installation, with `more` in its environment; remove it afterwards.

    On servers of its own: the tests wipe the broker and tamper with the record.
    """
    home = Path(tempfile.mkdtemp(prefix="execfabric-browser-"))
    servers = start_servers(prepare_data(home / "data"))
    try:
        stack = _seeded(servers, more)
        try:
            stack.start_parts()
            yield stack
        finally:
            stack.stop()
    finally:
        servers.stop()
        shutil.rmtree(home, ignore_errors=True)


def _seeded(servers: TestServers, more: dict[str, str]) -> Stack:
    env = {
        "SECRET_KEY": servers.data.secret_key(),
        "REDIS_URL": servers.endpoints.redis_url,
        "EXECFABRIC_ENV": "development",
        "EXECFABRIC_DEMO": "true",
        "EXECFABRIC_DATA_DIR": str(servers.data.root),
        "EXECFABRIC_SECRETS_DIR": str(servers.data.secrets),
        "EXECFABRIC_EXTRA_HANDLERS": "tests.handlers",
        "EXECFABRIC_TEST_WITNESS": str(servers.data.root.parent / "witness"),
        **more,
    }
    endpoints = servers.endpoints
    # Again, because there may be other handlers.
    subprocess.run(
        commands.prepare(demo=True),
        env=environment(env | {"DATABASE_URL": endpoints.owner_database_url}),
        cwd=PROJECT,
        check=True,
        capture_output=True,
    )
    env["DATABASE_URL"] = endpoints.database_url
    log = (servers.data.root / "parts.log").open("w+b", buffering=0)
    return Stack(servers, endpoints, env, ports.any_free(), log)
