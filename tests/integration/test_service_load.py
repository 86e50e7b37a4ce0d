"""The web server under load that it cannot serve: it refuses, and it recovers."""

import asyncio
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from execfabric.local import commands, postgres
from execfabric.local.layout import PROJECT
from execfabric.local.postgres import SUPERUSER
from tests.load_clients import Answer, Site
from tests.servers import (
    Spawned,
    environment,
    eventually,
    prepare_data,
    spawn,
    start_servers,
)

SIGNED_IN = """
from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from execfabric.identity.models import User
user = User.objects.create_user("visitor")
session = SessionStore()
session[SESSION_KEY] = str(user.pk)
session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
session[HASH_SESSION_KEY] = user.get_session_auth_hash()
session.save()
print(f"{settings.SESSION_COOKIE_NAME}={session.session_key}")
"""
RECOVERY = 5.0
"""Seconds within which the service must serve again."""
CONNECTIONS = 8
REQUEST_SECONDS = 8
BOUND = {
    "EXECFABRIC_WEB_CONNECTIONS": str(CONNECTIONS),
    "EXECFABRIC_REQUEST_SECONDS": str(REQUEST_SECONDS),
}
HALVES = (
    b"",
    b"GET /runs HTTP/1.1\r\nhost: 127.0.0.1\r\nx-half",
    b"POST /accounts/login/ HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 99\r\n\r\nx",
)
"""A connection and nothing more, half of the headers, half of the body."""


@dataclass
class Stage:
    """A web server on servers of its own, and one person's session."""

    site: Site
    web: Spawned
    database: str
    cookie: str

    def connections(self) -> int:
        """How many connections the application's role holds now."""
        query = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'execfabric_app'"
        with psycopg.connect(self.database) as connection:
            return int(connection.execute(query).fetchone()[0])

    def serves(self) -> bool:
        """Return True if it is ready and shows a signed-in person a page."""
        return (
            self.site.get("/readyz").status == 200
            and self.site.get("/runs", cookie=self.cookie).status == 200
        )

    def recovers(self) -> bool:
        return eventually(self.serves, within=RECOVERY)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    home = Path(tempfile.mkdtemp(prefix="execfabric-load-"))
    servers = start_servers(prepare_data(home / "data"))
    try:
        found = servers.endpoints
        env = {"REDIS_URL": found.redis_url, "DATABASE_URL": found.database_url}
        env |= {"EXECFABRIC_DATA_DIR": str(servers.data.root), **BOUND}
        made = subprocess.run(
            commands.manage("shell", "--no-imports", "-c", SIGNED_IN),
            env=environment(env),
            cwd=PROJECT,
            check=True,
            capture_output=True,
            text=True,
        )
        web = spawn("web", env)
        try:
            web.wait_ready()
            port = int(web.url.rpartition(":")[2])
            cookie = made.stdout.split()[-1]
            server = urlsplit(found.owner_database_url)
            owner = postgres.url(servers.data, server.port or 0, SUPERUSER)
            yield Stage(Site(port), web, owner, cookie)
        finally:
            web.stop()
    finally:
        servers.stop()
        shutil.rmtree(home, ignore_errors=True)


def test_a_thousand_anonymous_requests_at_once_do_no_lasting_harm(stage: Stage) -> None:
    anonymous = [
        ("/readyz", {}),
        ("/api/v1/me", {"authorization": "Bearer ef_bogus"}),
        ("/inbox", {"cookie": f"{stage.cookie}-bogus"}),
    ]

    statuses = stage.site.burst(anonymous[number % 3] for number in range(1000))

    assert set(statuses) <= {200, 302, 401, 503}, statuses
    assert stage.recovers()
    assert stage.connections() <= CONNECTIONS


def test_two_hundred_page_loads_at_once_do_no_lasting_harm(stage: Stage) -> None:
    signed_in = {"cookie": stage.cookie}

    statuses = stage.site.burst(("/runs", signed_in) for _ in range(200))

    assert set(statuses) <= {200, 503}, statuses
    assert statuses[200]
    assert stage.recovers()
    assert stage.connections() <= CONNECTIONS


def test_three_hundred_half_sent_requests_are_closed(stage: Stage) -> None:
    async def half_sent(half: bytes) -> bytes:
        reader, writer = await stage.site.connect()
        writer.write(half)
        ended = await reader.read()
        writer.close()
        return ended

    async def all_of_them() -> list[bytes]:
        async with asyncio.timeout(REQUEST_SECONDS + 30):
            return await asyncio.gather(*(half_sent(half) for half in HALVES * 100))

    with ThreadPoolExecutor(1) as meanwhile:
        ended = meanwhile.submit(asyncio.run, all_of_them())
        assert stage.recovers()
        assert ended.result() == [b""] * 300
    assert stage.recovers()


@pytest.mark.parametrize("path", ["/accounts/login/", "/plans/propose", "/api/v1/me"])
def test_a_large_upload_is_refused_before_it_is_read(stage: Stage, path: str) -> None:
    headers = {"cookie": "csrftoken=anything", "content_length": str(400 * 2**20)}

    answer = asyncio.run(stage.site.send(path, headers, method="POST"))

    assert answer.status == 413
    kind = "application/problem+json" if "/api/" in path else "text/html"
    assert answer.headers["content-type"].startswith(kind)
    assert b"request.too_large" in answer.body


def test_a_large_upload_of_unknown_length_is_refused_on_the_way(stage: Stage) -> None:
    async def upload() -> bytes:
        reader, writer = await stage.site.connect()
        chunked = {"transfer_encoding": "chunked", "cookie": "csrftoken=anything"}
        writer.write(stage.site.head("/plans/propose", chunked, method="POST"))
        for _ in range(20):
            writer.write(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
        try:
            async with asyncio.timeout(30):
                return await reader.readline()
        except ConnectionError:
            # Closed with unread data: the reset may overtake the answer.
            return b""
        finally:
            writer.transport.abort()

    # An answer that a reset overtook says nothing: ask again.
    answers = (asyncio.run(upload()) for _ in range(10))

    assert any(b" 413 " in answer for answer in answers)


def test_a_burst_that_finds_no_slot_is_told_when_to_come_back(stage: Stage) -> None:
    async def burst() -> list[Answer]:
        sent = (stage.site.send("/runs", {"cookie": stage.cookie}) for _ in range(700))
        return await asyncio.gather(*sent)

    refused = [answer for answer in asyncio.run(burst()) if answer.status == 503]

    assert refused
    assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)
    assert all(b"service.busy" in answer.body for answer in refused)
    assert stage.recovers()


def test_a_database_that_is_away_is_said_so_and_comes_back(stage: Stage) -> None:
    bearer = {"authorization": "Bearer ef_bogus"}
    with psycopg.connect(stage.database, autocommit=True) as connection:
        connection.execute("ALTER ROLE execfabric_app NOLOGIN")
        try:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE usename = 'execfabric_app'"
            )
            page = stage.site.get("/runs", cookie=stage.cookie)
            problem = stage.site.get("/api/v1/me", **bearer)
            ready = stage.site.get("/readyz")
        finally:
            connection.execute("ALTER ROLE execfabric_app LOGIN")

    assert (page.status, problem.status, ready.status) == (503, 503, 503)
    assert b"service.database_unavailable" in page.body
    assert b"service.database_unavailable" in problem.body
    assert int(page.headers["retry-after"]) > 0
    assert int(problem.headers["retry-after"]) > 0
    assert stage.recovers()
