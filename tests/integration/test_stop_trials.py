"""After a pause, a cancel or a stop has committed, no step starts: many races of it.

`EXECFABRIC_TRIALS` is the number of races of each kind.
"""

import os
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from django.db import connection

from execfabric.lib import clock
from execfabric.lib.ids import span_id
from execfabric.lib.machine import IllegalTransition
from execfabric.lib.refusal import Refusal
from orchestration.runs.control import control, stops
from orchestration.runs.domain.states import FINAL_RUN, RunState, StepState
from orchestration.runs.engine import attempts
from orchestration.runs.engine.loading import RunCache
from orchestration.runs.models import Attempt, Run, StepRun
from tests.builders import CACHED_RUNS, DONE, approved, chain
from tests.record import is_whole
from tests.servers import eventually

TRIALS = int(os.environ.get("EXECFABRIC_TRIALS", "70"))
WORKERS = 3
STEPS = 12
LONGEST_S = 120
"""Seconds for one wait on a machine that does much else."""

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]


@dataclass
class Workers:
    """Threads that claim and complete what is ready, as fast as they can."""

    ending: threading.Event = field(default_factory=threading.Event)
    rounds: list[int] = field(default_factory=lambda: [0] * WORKERS)
    """How often each thread has looked for a ready step."""
    futures: list[Future[None]] = field(default_factory=list)

    def run(self, number: int) -> None:
        cache = RunCache(CACHED_RUNS)
        try:
            while not self.ending.is_set():
                self._work(f"worker-{number}", cache)
                self.rounds[number] += 1
        finally:
            connection.close()

    def _work(self, name: str, cache: RunCache) -> None:
        ready = [*StepRun.objects.filter(state=StepState.READY).values_list("pk")]
        if not ready:
            time.sleep(0.002)
            return
        [pk] = random.choice(ready)
        options = {"worker": name, "cache": cache}
        lease = attempts.claim(
            step_run_id=pk, session=span_id(), at=clock.now(), **options
        )
        while lease:
            lease = attempts.complete(
                lease, DONE, session=span_id(), at=clock.now(), **options
            )

    def wait_for_rounds(self, count: int = 2) -> None:
        """Wait until every thread has tried again, from its start."""
        wanted = [rounds + count for rounds in self.rounds]
        assert eventually(
            lambda: self._has_reached(wanted) or self._has_failed(), within=LONGEST_S
        )
        assert not self._has_failed()

    def _has_reached(self, wanted: list[int]) -> bool:
        pairs = zip(self.rounds, wanted, strict=True)
        return all(rounds >= least for rounds, least in pairs)

    def _has_failed(self) -> bool:
        return any(future.done() for future in self.futures)


@pytest.fixture
def workers() -> Iterator[Workers]:
    made = Workers()
    with ThreadPoolExecutor(WORKERS) as pool:
        made.futures += [pool.submit(made.run, number) for number in range(WORKERS)]
        yield made
        made.ending.set()
    for future in made.futures:
        future.result()


@pytest.fixture
def counted(monkeypatch) -> list[int]:
    """Count the attempts that began before the act, inside of its transaction.

    It holds the lock that orders the act and the attempts, so none is missed.
    """
    counts: list[int] = []

    def counting(module, name: str) -> None:
        original = getattr(module, name)

        def count_first(*arguments, **options):
            if threading.current_thread() is threading.main_thread():
                counts.append(Attempt.objects.count())
            return original(*arguments, **options)

        monkeypatch.setattr(module, name, count_first)

    counting(control, "advance")
    counting(stops, "_record")
    return counts


def has_succeeded(run: Run) -> bool:
    return Run.objects.get(pk=run.pk).state == RunState.SUCCEEDED


def a_run(proposer, operator) -> Run:
    return approved(chain(STEPS), proposer, operator)


def at_a_random_moment() -> None:
    time.sleep(random.random() * 0.03)


def test_nothing_starts_after_a_stop(proposer, operator, workers, counted):
    run = a_run(proposer, operator)
    for trial in range(TRIALS):
        run.refresh_from_db()
        if run.state in FINAL_RUN:
            assert is_whole(run)
            run = a_run(proposer, operator)
        at_a_random_moment()
        skill = "lab" if trial % 2 else ""
        row = stops.stop(
            skill=skill,
            reason="A trial.",
            cancel=False,
            by=operator.actor(),
            at=clock.now(),
        )
        before = counted[-1]
        workers.wait_for_rounds()
        assert Attempt.objects.count() == before
        stops.lift(stop_id=row.pk, reason="Over.", by=operator.actor(), at=clock.now())
    assert eventually(lambda: has_succeeded(run), within=LONGEST_S)
    assert is_whole(run)
    assert is_whole(row)


def test_nothing_starts_after_a_pause(proposer, operator, workers, counted):
    run, trials = a_run(proposer, operator), 0
    while trials < TRIALS:
        at_a_random_moment()
        try:
            control.pause(run_id=run.pk, by=operator.actor(), at=clock.now())
        except IllegalTransition:
            run = a_run(proposer, operator)
            continue
        before, trials = counted[-1], trials + 1
        workers.wait_for_rounds()
        assert Attempt.objects.count() == before
        run.refresh_from_db()
        if run.state in FINAL_RUN:
            run = a_run(proposer, operator)
            continue
        assert run.state == RunState.PAUSED
        control.resume(run_id=run.pk, by=operator.actor(), at=clock.now())
    assert eventually(lambda: has_succeeded(run), within=LONGEST_S)
    assert is_whole(run)


def test_nothing_starts_after_a_cancel(proposer, operator, workers, counted):
    trials = 0
    while trials < TRIALS:
        run = a_run(proposer, operator)
        at_a_random_moment()
        try:
            control.cancel(run_id=run.pk, by=operator.actor(), at=clock.now())
        except Refusal:
            continue
        before, trials = counted[-1], trials + 1
        workers.wait_for_rounds()
        assert Attempt.objects.count() == before
        run.refresh_from_db()
        assert run.state == RunState.CANCELLED
