"""The only file that names Celery tasks. A hint may be lost, doubled or late."""

import logging
from collections.abc import Sequence
from uuid import UUID

from django.db import transaction
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from execfabric.celery import app

WORK = "runs.work"
VERIFY = "runs.verify"
DRY_RUN = "runs.dry_run"

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


def hint_verification(job_id: UUID) -> None:
    """After commit, tell the workers that a verification waits; it may be lost."""

    def publish() -> None:
        _send(VERIFY, [{"job_id": str(job_id)}])

    transaction.on_commit(publish, robust=True)


def send(step_runs: Sequence[UUID]) -> None:
    """Publish the hints now."""
    _send(WORK, [{"step_run_id": str(step_run)} for step_run in step_runs])


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
        for message in messages:
            app.send_task(task, kwargs=message)
    except (OperationalError, RedisError, OSError) as error:
        log.warning("The broker took no hint: %s", error)
