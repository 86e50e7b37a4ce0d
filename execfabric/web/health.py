"""Liveness and readiness, outside of Django: many requests share one check."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from redis import Redis, RedisError

from execfabric.infra import database
from execfabric.web.messages import App, Message, Receive, Send, respond

OK = "ok"
SECONDS = 2
FRESH = 1.0
"""Seconds for which a check is cached."""
WITHIN = 5.0
"""Seconds after which an unfinished check counts as failed."""

Report = Mapping[str, str]


def check() -> Report:
    """Return the state of database, broker and migrations."""
    try:
        report = {"database": _database(), "broker": _broker()}
        if report["database"] == OK:
            report["migrations"] = _migrations()
        return report
    finally:
        database.release()


class Health:
    """Serve `/healthz` and `/readyz`; pass other requests on."""

    def __init__(self, app: App, check: Callable[[], Report] = check) -> None:
        self._app = app
        self._check = check
        # One thread, so that any number of requests uses one connection.
        self._thread = ThreadPoolExecutor(1, "readiness")
        self._checked: asyncio.Future[Report] | None = None
        self._checked_at = 0.0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        path = scope["path"] if scope["type"] == "http" else ""
        if path == "/healthz":
            await _answer(send, HTTPStatus.OK, b"text/plain", b"ok\n")
        elif path == "/readyz":
            report = await self._report()
            ready = all(state == OK for state in report.values())
            status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
            body = json.dumps(report).encode()
            await _answer(send, status, b"application/json", body)
        else:
            await self._app(scope, receive, send)

    async def _report(self) -> Report:
        now = time.monotonic()
        last = self._checked
        if last is None or (last.done() and now - self._checked_at > FRESH):
            loop = asyncio.get_running_loop()
            last = loop.run_in_executor(self._thread, self._check)
            self._checked, self._checked_at = last, now
        try:
            # Shielded, because other requests wait for the same check.
            return await asyncio.wait_for(asyncio.shield(last), WITHIN)
        except TimeoutError:
            return {"database": f"no answer after {WITHIN:g} s"}


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return "unreachable"
    return OK


def _broker() -> str:
    client = Redis.from_url(
        settings.REDIS_URL, socket_timeout=SECONDS, socket_connect_timeout=SECONDS
    )
    try:
        with client:
            client.ping()
    except RedisError:
        return "unreachable"
    return OK


def _migrations() -> str:
    executor = MigrationExecutor(connection)
    targets = executor.loader.graph.leaf_nodes()
    return "missing" if executor.migration_plan(targets) else OK


async def _answer(send: Send, status: int, kind: bytes, body: bytes) -> None:
    headers = [(b"content-type", kind), (b"cache-control", b"no-store")]
    await respond(send, status, headers, body)
