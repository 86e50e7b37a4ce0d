"""Send hints to the workers.

A hint may be lost, duplicate or late. Ready step runs are hinted through a list that the
workers poll; everything else is a Celery task.
"""

import logging
import threading
import time
from collections.abc import Sequence
from functools import cache
from uuid import UUID

from django.conf import settings
from django.db import transaction
from kombu.exceptions import OperationalError
from redis import Redis
from redis.backoff import NoBackoff
from redis.connection import AbstractConnection
from redis.exceptions import RedisError
from redis.retry import Retry

from execfabric.celery import app

STEPS = "execfabric.steps"
"""The broker's list of ready step runs."""
WORK = "runs.work"
DRY_RUN = "runs.dry_run"
ALERT = "runs.alert"
MAX_HINTS = 10_000
"""The length of the list. Older hints are dropped, and the keeper sends them again."""
TIMEOUT_S = 2
"""Seconds for one try to reach the broker; there are two tries."""
TIMEOUTS = {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S}

_connected = threading.Event()
"""Set by each new connection to the broker."""
log = logging.getLogger(__name__)


def hint(step_runs: Sequence[UUID]) -> None:
    """Notify the workers after the commit that step runs are ready.

    An unreachable broker is not an error: the keeper hints again.
    """
    if step_runs:
        # Django logs the name of a robust callback, which a partial does not have.
        transaction.on_commit(lambda: send(step_runs), robust=True)


def send(step_runs: Sequence[UUID]) -> None:
    """Send hints about ready step runs now."""
    if not step_runs:
        return
    try:
        with _broker().pipeline(transaction=False) as pipeline:
            pipeline.lpush(STEPS, *map(str, step_runs))
            pipeline.ltrim(STEPS, 0, MAX_HINTS - 1)
            pipeline.execute()
    except (RedisError, OSError) as error:
        log.warning("Cannot send a hint: %s", error)


def next_hint(wait_s: float) -> str | None:
    """Return the next hint; None on a timeout or if the broker is unreachable."""
    try:
        popped = _broker().brpop([STEPS], timeout=wait_s)
    except (RedisError, OSError) as error:
        log.warning("Cannot read hints: %s", error)
        time.sleep(wait_s)
        return None
    return popped[1] if popped else None


def has_reconnected() -> bool:
    """Return True if the connection to the broker is new since the last call.

    The broker may then have lost all hints, or senders may not have reached it.
    """
    try:
        _broker().ping()
    except (RedisError, OSError) as error:
        log.warning("Cannot reach the broker: %s", error)
        return False
    is_new = _connected.is_set()
    _connected.clear()
    return is_new


def give_back(hint: str) -> None:
    """Return a hint to the list for the next worker."""
    try:
        _broker().rpush(STEPS, hint)
    except (RedisError, OSError) as error:
        log.warning("Cannot send a hint: %s", error)


def hint_dry_run(dry_run: UUID) -> None:
    """Notify the workers after the commit that a dry run is queued."""
    transaction.on_commit(lambda: send_dry_runs([dry_run]), robust=True)


def send_dry_runs(dry_runs: Sequence[UUID]) -> None:
    """Send hints about queued dry runs now."""
    send_tasks(DRY_RUN, [{"dry_run_id": str(pk)} for pk in dry_runs])


def send_tasks(task: str, messages: Sequence[dict[str, str]]) -> None:
    """Send Celery tasks now; an unreachable broker is only logged."""
    try:
        with app.connection_for_write(transport_options=TIMEOUTS) as connection:
            for message in messages:
                app.send_task(task, kwargs=message, connection=connection)
    except (OperationalError, RedisError, OSError) as error:
        log.warning("Cannot send a hint: %s", error)


@cache
def _broker() -> "Redis[str]":
    """Return the client of this process; it is safe for threads and forks.

    A broken connection is reopened once. Nothing waits longer than the timeouts.
    """
    return Redis.from_url(
        settings.REDIS_URL,
        decode_responses=True,
        encoding_errors="replace",
        retry=Retry(NoBackoff(), 1),
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        redis_connect_func=_note_connection,
    )


def _note_connection(connection: AbstractConnection) -> None:
    connection.on_connect()
    _connected.set()
