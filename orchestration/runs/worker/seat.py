"""A worker's seat: the thread of a pool process that waits for hints and follows them.

It takes each hint from the broker itself, and only when it is free. Through Celery's
main process and pool a hint takes six times as long, and some wait there for a process
that is busy while another is free.
"""

import logging
import threading
from uuid import UUID

from structlog.contextvars import bound_contextvars

from execfabric.infra import database
from orchestration.runs import dispatch
from orchestration.runs.worker import work
from orchestration.runs.worker.work import Bench

WAIT_S = 1.0
"""Seconds that a seat waits for a hint before it looks whether it should end."""

log = logging.getLogger(__name__)


class Seat(threading.Thread):
    """Follows hints until it is told to end."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(name="seat", daemon=True)
        self._bench = bench
        self._ending = threading.Event()

    def end(self) -> None:
        """Finish the step in hand and take no other; hints tell others of the rest."""
        self._bench.is_ending = True
        self._ending.set()
        self.join()
        memory = self._bench.memory
        log.info(
            "Changes without a lock: %d written, %d refused.",
            memory.taken,
            memory.refused,
        )
        self._bench.close()

    def run(self) -> None:
        """Follow one hint after the other."""
        while not self._ending.is_set():
            hint = None
            try:
                hint = dispatch.next_hint(WAIT_S)
                if hint is not None and self._ending.is_set():
                    dispatch.give_back(hint)
                elif hint is not None:
                    follow(hint, self._bench)
            except Exception:
                # A seat that ended would leave its process idle, and no one would know.
                log.exception("The hint %.40r could not be followed.", hint)
                self._ending.wait(0 if hint else WAIT_S)


def follow(hint: str, bench: Bench) -> int:
    """Work on a run from the hinted step on; a stale, doubled or forged id does nothing.

    What a newer release puts after the id is not needed: the database decides.
    """
    try:
        step_run_id = UUID(hint[:36])
    except ValueError:
        log.warning("The hint %.40r is not an id.", hint)
        return 0
    database.check()
    with bound_contextvars(step_run_id=str(step_run_id)):
        return work.work(step_run_id=step_run_id, bench=bench)
