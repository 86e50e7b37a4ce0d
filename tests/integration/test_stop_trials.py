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
from functools import partial

import pytest
from django.db import connection

from execfabric.lib import clock
from execfabric.lib.canonical import loads
from execfabric.lib.ids import span_id
from execfabric.lib.machine import IllegalTransition
from execfabric.lib.refusal import Refusal
from orchestration.runs.control import control, stops
from orchestration.runs.domain.states import FINAL_RUN, RunState, StepState
from orchestration.runs.engine import attempts
from orchestration.runs.engine.loading import RunCache
from orchestration.runs.models import Attempt, Run, StepRun
from tests.builders import CACHED_RUNS, DONE, approved, chain, plan, step
from tests.integration.fallback_builders import BAD, with_fallback
from tests.record import is_whole
from tests.servers import eventually

TRIALS = int(os.environ.get("EXECFABRIC_TRIALS", "70"))
MIXED_TRIALS = max(TRIALS // 10, 1)
WORKERS = 3
STEPS = 12
OTHERS = 6
FALLBACKS = 4
PASS = {"skill": "noop", "action": "pass", "params": {"value": 1}}
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
            result = BAD if "misbehave" in lease.spec["handler"] else DONE
            lease = attempts.complete(
                lease, result, session=span_id(), at=clock.now(), **options
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


def begun(skill: str) -> int:
    """Return how many attempts of steps of a skill have begun."""
    bodies = Attempt.objects.values_list("spec__body", flat=True)
    return sum(loads(bytes(body))["skill"]["slug"] == skill for body in bodies)


@pytest.fixture
def counted(monkeypatch) -> list[int]:
    """Count the attempts that began before the act, inside of its transaction.

    It holds the lock that orders the act and the attempts, so none is missed.
    """
    counts: list[int] = []
    counting(monkeypatch, control, "advance", counts, Attempt.objects.count)
    counting(monkeypatch, stops, "_record", counts, Attempt.objects.count)
    return counts


@pytest.fixture
def counted_of_lab(monkeypatch) -> list[int]:
    """Count the attempts of one skill that began before a stop or its end."""
    counts: list[int] = []
    counting(monkeypatch, stops, "_record", counts, lambda: begun("lab"))
    return counts


def counting(monkeypatch, module, name: str, counts: list[int], count) -> None:
    """Count before each call of a function by the test."""
    original = getattr(module, name)

    def count_first(*arguments, **options):
        if threading.current_thread() is threading.main_thread():
            counts.append(count())
        return original(*arguments, **options)

    monkeypatch.setattr(module, name, count_first)


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


def a_mixed_run(proposer, operator) -> Run:
    """Return a run with a list, fallbacks, and steps of a skill that goes on."""
    letters = [*"abcdef"]
    each = step("each", forEach=letters, params={"value": "$item"})
    bad = [with_fallback(f"q{number}") for number in range(FALLBACKS)]
    other = [{"id": f"n{number}", **PASS} for number in range(OTHERS)]
    text = plan(each, *bad, *other, parallel=True, onFailure="continue")
    return approved(text, proposer, operator)


def others_are_done(run: Run) -> bool:
    done = run.steps.filter(key__startswith="n", state=StepState.SUCCEEDED)
    return done.count() == OTHERS


def test_only_steps_of_the_stopped_skill_do_not_start(
    proposer, operator, workers, counted_of_lab
):
    """Items and fallbacks too; steps of another skill go on meanwhile."""
    for _ in range(MIXED_TRIALS):
        run = a_mixed_run(proposer, operator)
        at_a_random_moment()
        row = stops.stop(
            skill="lab",
            reason="A trial.",
            cancel=False,
            by=operator.actor(),
            at=clock.now(),
        )
        before = counted_of_lab[-1]
        assert eventually(partial(others_are_done, run), within=LONGEST_S)
        workers.wait_for_rounds()
        assert begun("lab") == before
        stops.lift(stop_id=row.pk, reason="Over.", by=operator.actor(), at=clock.now())
        assert eventually(partial(has_succeeded, run), within=LONGEST_S)
        assert run.steps.filter(key__endswith=".fallback").count() == FALLBACKS
        assert is_whole(run)


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
