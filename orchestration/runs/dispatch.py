"""Hints to the workers: the only file that names the broker's list and tasks.

A hint may be lost, doubled or late. Step runs are hinted through a list that the seats
of the workers wait for; everything else is a Celery task.
"""

import logging
import time
from collections.abc import Sequence
from functools import cache
from uuid import UUID

from django.conf import settings
from django.db import transaction
from kombu.exceptions import OperationalError
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from execfabric.celery import app

STEPS = "execfabric.steps"
"""The broker's list of ready step runs."""
WORK = "runs.work"
VERIFY = "runs.verify"
DRY_RUN = "runs.dry_run"
MOST = 10_000
"""Hints in the list; older ones are dropped, and the keeper sends them again."""
TIMEOUT_S = 2
"""How long one try to reach the broker may take; there are two."""
TIMEOUTS = {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S}

log = logging.getLogger(__name__)


def hint(step_runs: Sequence[UUID]) -> None:
    """After commit, tell the workers that these step runs are ready.

    A broker that is away is no error: the keeper's sweep hints again.
    """
    ids = tuple(step_runs)

    # A function with a name, which Django's log of a robust callback needs.
    def publish() -> None:
        send(ids)

    if ids:
        transaction.on_commit(publish, robust=True)


def send(step_runs: Sequence[UUID]) -> None:
    """Publish the hints now."""
    if not step_runs:
        return
    try:
        with _broker().pipeline(transaction=False) as both:
            both.lpush(STEPS, *map(str, step_runs))
            both.ltrim(STEPS, 0, MOST - 1)
            both.execute()
    except (RedisError, OSError) as error:
        log.warning("The broker took no hint: %s", error)


def next_hint(wait_s: float) -> str | None:
    """Return the next hint; None when none came, or while the broker is away."""
    try:
        found = _broker().brpop([STEPS], timeout=wait_s)
    except (RedisError, OSError) as error:
        log.warning("The broker gives no hints: %s", error)
        time.sleep(wait_s)
        return None
    return found[1] if found else None


def give_back(hint: str) -> None:
    """Put a hint back that is not followed, for the next worker that asks."""
    try:
        _broker().rpush(STEPS, hint)
    except (RedisError, OSError) as error:
        log.warning("The broker took no hint: %s", error)


def hint_verification(job_id: UUID) -> None:
    """After commit, tell the workers that a verification waits; it may be lost."""

    def publish() -> None:
        _send(VERIFY, [{"job_id": str(job_id)}])

    transaction.on_commit(publish, robust=True)


def hint_dry_run(dry_run: UUID) -> None:
    """After commit, tell the workers that this dry run is queued."""

    def publish() -> None:
        send_dry_runs([dry_run])

    transaction.on_commit(publish, robust=True)


def send_dry_runs(dry_runs: Sequence[UUID]) -> None:
    """Publish the hints about queued dry runs now."""
    _send(DRY_RUN, [{"dry_run_id": str(one)} for one in dry_runs])


def _send(task: str, messages: Sequence[dict[str, str]]) -> None:
    try:
        with app.connection_for_write(transport_options=TIMEOUTS) as connection:
            for message in messages:
                app.send_task(task, kwargs=message, connection=connection)
    except (OperationalError, RedisError, OSError) as error:
        log.warning("The broker took no hint: %s", error)


@cache
def _broker() -> "Redis[str]":
    """Return this process's client; it is safe over threads and forks.

    A broken connection is opened again once. Nothing waits longer than the timeouts.
    """
    return Redis.from_url(
        settings.REDIS_URL,
        decode_responses=True,
        encoding_errors="replace",
        retry=Retry(NoBackoff(), 1),
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
    )
