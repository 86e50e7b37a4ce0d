"""Liveness and readiness: told without a session, by one check for all who ask."""

import asyncio
import json
import threading

import pytest
from asgiref.testing import ApplicationCommunicator
from django.test import override_settings

from execfabric.web import health
from execfabric.web.health import Health


async def nowhere(scope, receive, send) -> None:
    raise AssertionError(scope)


async def get(app: Health, path: str) -> tuple[int, bytes]:
    asked = ApplicationCommunicator(app, {"type": "http", "path": path, "headers": []})
    await asked.send_input({"type": "http.request"})
    start = await asked.receive_output(timeout=10)
    body = await asked.receive_output(timeout=10)
    return start["status"], body["body"]


async def test_a_living_process_says_so_without_looking_at_anything() -> None:
    def never() -> health.Report:
        raise AssertionError

    assert await get(Health(nowhere, never), "/healthz") == (200, b"ok\n")


def test_readiness_means_database_broker_and_migrations(db) -> None:
    assert health.check() == {"database": "ok", "broker": "ok", "migrations": "ok"}


@override_settings(REDIS_URL="redis://127.0.0.1:1/0")
def test_readiness_names_the_part_that_is_missing(db) -> None:
    assert health.check()["broker"] == "unreachable"


@pytest.mark.parametrize(("state", "status"), [("ok", 200), ("unreachable", 503)])
async def test_readiness_is_a_status_and_a_report(state: str, status: int) -> None:
    answered, body = await get(Health(nowhere, lambda: {"broker": state}), "/readyz")

    assert (answered, json.loads(body)) == (status, {"broker": state})


async def test_however_many_ask_at_once_there_is_one_check() -> None:
    checks = []
    answered = threading.Event()

    def slow() -> health.Report:
        checks.append(1)
        answered.wait(10)
        return {"database": "ok"}

    app = Health(nowhere, slow)
    asking = [asyncio.create_task(get(app, "/readyz")) for _ in range(100)]
    await asyncio.sleep(0.1)
    answered.set()

    assert {status for status, _ in await asyncio.gather(*asking)} == {200}
    assert len(checks) == 1
