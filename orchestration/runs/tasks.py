"""Celery's tasks: a hint names a row, and one service call does the rest."""

import logging
import os
import socket
import threading
import time
from uuid import UUID

from celery import shared_task
from celery.signals import (
    worker_init,
    worker_process_init,
    worker_process_shutdown,
)
from django.conf import settings
from django.db import connection

from execfabric.infra import database
from execfabric.lib import clock
from orchestration.runs import dispatch
from orchestration.runs.worker import dry_run_work, give_back
from orchestration.runs.worker.seat import Seat
from orchestration.runs.worker.work import Bench
from orchestration.skills.execution import self_test
from orchestration.skills.services import secrets

log = logging.getLogger(__name__)

_seat: Seat | None = None
"""Of this pool process; the main process has none."""


@shared_task(name=dispatch.WORK, ignore_result=True)
def work_on(*, step_run_id: str, **_: object) -> None:
    """Pass on a hint in the form of the previous release, while that still runs."""
    dispatch.send([UUID(step_run_id)])


@shared_task(name=dispatch.DRY_RUN, ignore_result=True)
def dry_run(*, dry_run_id: str, **_: object) -> None:
    """Carry out a queued dry run; a stale, doubled or forged id does nothing."""
    database.check()
    dry_run_work.work(dry_run_id=UUID(dry_run_id), worker=node())


def node() -> str:
    """Name this worker: the same in all of its processes, which Celery has forked."""
    return f"{socket.gethostname()}:{os.getppid()}"


@worker_init.connect
def _prove_sandbox(**_: object) -> None:
    """Try the command sandbox before anything is claimed, and say how it went.

    Where it does not hold, the action that needs it refuses by itself.
    """
    proven = self_test()
    if proven.works:
        log.info("The command sandbox holds.")
    else:
        log.warning(
            "Steps that need the command sandbox are refused here: %s",
            "; ".join(proven.failures),
        )


@worker_process_init.connect
def _open(**_: object) -> None:
    """Take the seat; its runner starts now rather than in the first step."""
    global _seat  # noqa: PLW0603  one process, one seat
    database.bound_transactions()
    secrets.open_here()
    bench = Bench(name=f"{socket.gethostname()}:{os.getpid()}")
    bench.runner.start()
    _seat = Seat(bench)
    _seat.start()
    # Beside the steps: the database may be away, and Celery waits for a new process.
    threading.Thread(target=_give_back_left, daemon=True).start()


def _give_back_left() -> None:
    """Look at what dead processes left until all of it is settled."""
    waiting = 1
    while waiting:
        try:
            waiting = give_back.left(at=clock.now())
        except Exception:
            log.exception("Cannot give back what dead workers have left.")
        connection.close()
        time.sleep(settings.HINT_AGAIN_SECONDS if waiting else 0)


@worker_process_shutdown.connect
def _close(**_: object) -> None:
    """Finish the step in hand, however the process was asked to stop."""
    if _seat is not None:
        _seat.end()
