"""A process that is frozen in the middle of a transaction does not keep its run for ever."""

import os
import signal
import threading
import time
import urllib.request
from contextlib import contextmanager, suppress

import psycopg
import pytest
from django.db import OperationalError, connection, transaction
from django.db.backends.signals import connection_created

from execfabric.infra import database
from orchestration.runs.engine import loading
from tests.api_builders import token_of
from tests.builders import approved, chain
from tests.servers import eventually, spawn
from tests.web_server import database_url

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]
LOCK = "SELECT 1 FROM runs_run WHERE id = %s FOR UPDATE"


@contextmanager
def between_statements(server, run):
    """Frozen with an answer read and the next statement not sent."""
    server.execute("BEGIN")
    server.execute(LOCK, [run.id])
    yield


@contextmanager
def within_a_pipeline(server, run):
    """Frozen with the first statements of a pipeline sent and not the last ones."""
    with server.pipeline():
        server.execute("BEGIN")
        server.execute(LOCK, [run.id])
        yield


@pytest.mark.parametrize("somewhere", [between_statements, within_a_pipeline])
def test_the_lock_of_a_frozen_worker_ends(
    somewhere, settings, proposer, operator, worker
):
    settings.LEASE_SECONDS = 0.25
    run = approved(chain(1), proposer, operator)
    frozen, over = threading.Event(), threading.Event()

    def worker():
        database.bound_transactions()
        try:
            connection.ensure_connection()
            server = connection.connection
            with suppress(psycopg.Error), somewhere(server, run):
                frozen.set()
                over.wait()
        finally:
            connection_created.disconnect(database._bound_length)
            connection.close()

    beside = threading.Thread(target=worker)
    beside.start()
    frozen.wait(10)
    try:
        assert is_locked(run)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '20s'")
            found = loading.load(run.id)
    finally:
        over.set()
        beside.join()

    assert found is not None
    assert found.run.id == run.id


@pytest.fixture
def web():
    """Start a web server whose transactions may take eighteen seconds."""
    started = spawn(
        "web", {"DATABASE_URL": database_url(), "EXECFABRIC_LEASE_SECONDS": "3"}
    )
    try:
        yield started.wait_ready()
    finally:
        started.kill9()


def test_the_lock_of_a_frozen_web_server_ends(web, proposer, operator):
    run = approved(chain(1), proposer, operator)
    request = urllib.request.Request(
        f"{web.url}/api/v1/runs/{run.id}:pause",
        data=b"{}",
        headers={
            "Authorization": f"Bearer {token_of(operator)}",
            "Content-Type": "application/json",
        },
    )
    pause = threading.Thread(target=sent, args=[request])
    with psycopg.connect(database_url()) as other:
        other.execute(
            "SELECT 1 FROM audit_stream WHERE key = %s FOR UPDATE", [run.stream]
        )
        pause.start()
        assert eventually(lambda: waits_for(other.info.backend_pid), within=30)
        os.kill(web.pid, signal.SIGSTOP)
    # The server answers a process that does not read: the transaction goes on.
    try:
        assert is_locked(run)
        assert eventually(lambda: not is_locked(run), within=90)
    finally:
        os.kill(web.pid, signal.SIGCONT)
        pause.join()
    run.refresh_from_db()
    assert run.state == "running"
    assert eventually(lambda: sent(f"{web.url}/readyz") == 200)


def test_every_process_limits_how_long_a_transaction_is_idle(transactional_db):
    connection.close()
    with connection.cursor() as cursor:
        cursor.execute("SHOW idle_in_transaction_session_timeout")
        assert cursor.fetchone() == ("1min",)


def sent(request):
    """Send a request and return the status of its answer, if there is one."""
    with suppress(OSError), urllib.request.urlopen(request, timeout=60) as answer:
        return answer.status


def waits_for(pid):
    """Return True while a statement waits for a lock of this server process."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))",
            [pid],
        )
        return cursor.fetchone() != (0,)


def is_locked(run):
    """Return True if another transaction holds the run, seen within a second."""
    for _ in range(20):
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(f"{LOCK} NOWAIT", [run.id])
        except OperationalError:
            return True
        time.sleep(0.05)
    return False
