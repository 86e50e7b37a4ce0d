"""The only file that names Celery tasks. A hint may be lost, doubled or late."""

import logging
from collections.abc import Sequence
from uuid import UUID

from django.db import transaction
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from execfabric.celery import app

WORK = "runs.work"

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
    try:
        for step_run in step_runs:
            app.send_task(WORK, kwargs={"step_run_id": str(step_run)})
    except (OperationalError, RedisError, OSError) as error:
        log.warning("The broker took no hint: %s", error)
