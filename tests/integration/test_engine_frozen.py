"""A worker that is frozen in the middle of a transaction does not keep its run for ever."""

import threading
import time
from contextlib import contextmanager, suppress

import psycopg
import pytest
from django.db import OperationalError, connection, transaction
from django.db.backends.signals import connection_created

from execfabric import database
from orchestration.runs.services import loading
from tests.builders import approved, chain

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
    somewhere, settings, proposer, operator, bench
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
            connection_created.disconnect(database._bound)
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


def is_locked(run):
    """Whether somebody holds the run, seen within a second."""
    for _ in range(20):
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(f"{LOCK} NOWAIT", [run.id])
        except OperationalError:
            return True
        time.sleep(0.05)
    return False
