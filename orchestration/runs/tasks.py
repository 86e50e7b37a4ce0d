"""Receive hints: each names a row and leads to one service call."""

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
from structlog.contextvars import bound_contextvars

from execfabric.infra import database
from execfabric.lib import clock
from orchestration.runs import dispatch
from orchestration.runs.worker import (
    alert_work,
    dry_run_work,
    give_back,
    probe_work,
    work,
)
from orchestration.runs.worker.work import WorkerContext
from orchestration.skills.execution import self_test
from orchestration.skills.services import secrets

log = logging.getLogger(__name__)

WAIT_S = 1.0
"""Seconds to wait for a hint before checking if the worker is stopping."""


class HintPoller(threading.Thread):
    """The thread of a pool process that polls for hints and acts on them.

    It takes a hint from the broker only when it is free. Through Celery's main process a
    hint takes six times as long, and may wait for a busy process while another is free.
    """

    def __init__(self, context: WorkerContext) -> None:
        super().__init__(name="hint-poller", daemon=True)
        self._context = context
        self._ending = threading.Event()

    def end(self) -> None:
        """Finish the current step and claim no other; other workers get the rest."""
        self._context.is_ending = True
        self._ending.set()
        self.join()
        cache = self._context.cache
        log.info(
            "Optimistic changes: %d written, %d refused.", cache.taken, cache.refused
        )
        self._context.close()

    def run(self) -> None:
        while not self._ending.is_set():
            hint = None
            try:
                hint = dispatch.next_hint(WAIT_S)
                if hint is not None and self._ending.is_set():
                    dispatch.give_back(hint)
                elif hint is not None:
                    follow(hint, self._context)
            except Exception:
                # If this thread ended, its process would be idle and no one would know.
                log.exception("Cannot follow the hint %.40r.", hint)
                self._ending.wait(0 if hint else WAIT_S)


def follow(hint: str, context: WorkerContext) -> int:
    """Work on the hinted step; a stale, duplicate or forged hint does nothing.

    Ignores what a newer release puts after the id: the database decides.
    """
    try:
        step_run_id = UUID(hint[:36])
    except ValueError:
        log.warning("Ignored the hint %.40r: it is not a valid id.", hint)
        return 0
    database.check()
    with bound_contextvars(step_run_id=str(step_run_id)):
        done = work.work(step_run_id=step_run_id, context=context)
        return done or probe_work.work(step_run_id=step_run_id, context=context)


_poller: HintPoller | None = None
"""The poller of this pool process; None in the main process."""


@shared_task(name=dispatch.WORK, ignore_result=True)
def work_on(*, step_run_id: str, **_: object) -> None:
    """Forward a hint of the previous release, while that still runs."""
    dispatch.send([UUID(step_run_id)])


@shared_task(name=dispatch.DRY_RUN, ignore_result=True)
def dry_run(*, dry_run_id: str, **_: object) -> None:
    """Carry out a queued dry run; a stale, duplicate or forged id does nothing."""
    database.check()
    dry_run_work.work(dry_run_id=UUID(dry_run_id), worker=node())


@shared_task(name=dispatch.ALERT, ignore_result=True)
def send_alert(*, alert_id: str, **_: object) -> None:
    """Try to send an alert; a stale, duplicate or forged id does nothing."""
    database.check()
    alert_work.work(alert_id=UUID(alert_id), at=clock.now())


def node() -> str:
    """Return the name of this worker, the same in all of its processes."""
    return f"{socket.gethostname()}:{os.getppid()}"


@worker_init.connect
def _prove_sandbox(**_: object) -> None:
    """Test the command sandbox and log the result; actions that need it check again."""
    proven = self_test()
    if proven.works:
        log.info("The command sandbox works.")
    else:
        log.warning(
            "The command sandbox does not work; steps that need it will fail: %s",
            "; ".join(proven.failures),
        )


@worker_process_init.connect
def _open(**_: object) -> None:
    """Start the poller and its runner, so that the first step need not wait."""
    global _poller  # noqa: PLW0603  one process, one poller
    database.bound_transactions()
    secrets.open_here()
    context = WorkerContext(name=f"{socket.gethostname()}:{os.getpid()}")
    context.runner.start()
    _poller = HintPoller(context)
    _poller.start()
    # In a thread: Celery waits for a new process, and the database may be unreachable.
    threading.Thread(target=_give_back_of_dead, daemon=True).start()


def _give_back_of_dead() -> None:
    """Make unstarted steps of dead processes ready until none is left."""
    waiting = 1
    while waiting:
        try:
            waiting = give_back.of_dead_workers(at=clock.now())
        except Exception:
            log.exception("Cannot give back the steps of dead workers.")
        connection.close()
        time.sleep(settings.HINT_AGAIN_SECONDS if waiting else 0)


@worker_process_shutdown.connect
def _close(**_: object) -> None:
    """Finish the current step before the process ends."""
    if _poller is not None:
        _poller.end()
