"""What one fault alone costs, once all others are over.

Among all the other faults, a step also waits for a worker that is alive and free.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import redis
from django.db import connection

from orchestration.runs.domain.states import FINAL_RUN, StepState
from orchestration.runs.models import Attempt, Run
from tests import builders
from tests.chaos.crew import Crew
from tests.chaos.stopwatch import AFTER_KILL, Stopwatch, longest

if TYPE_CHECKING:
    from tests.chaos.drive import Drive

LONG_S, SHORT_S = 2.0, 0.4
"""How long a step takes that is to be killed, and one that waits for a message."""
WAITING = 5
"""Steps for each one that the workers can run at the same time."""
POLL_S = 0.05
AT_MOST_S = 120.0
_numbers = count()


def figures(drive: "Drive", crew: Crew, trials: int) -> dict[str, Any]:
    """Return the delays of both faults, each tried so often."""
    return {
        "reclaimed_after_kill": _reclaims(drive, crew, trials),
        "added_by_wipe": _added_by_wipe(drive, crew, trials),
    }


def _reclaims(drive: "Drive", crew: Crew, trials: int) -> dict[str, Any]:
    """Kill a worker that has repeatable steps; measure until each is started again."""
    watch = Stopwatch()
    for trial in range(trials):
        _until(partial(_is_complete, crew))
        slots = crew.size * crew.concurrency
        run = _started(drive, slots, LONG_S)
        _until(partial(_is_busy, run, slots))
        worker = crew.workers[trial % crew.size]
        pids = crew.pids(worker)
        crew.kill_worker(worker)
        watch.killed(pids)
        while not _has_ended(run):
            watch.look()
            time.sleep(POLL_S)
    return watch.report(AFTER_KILL)


def _added_by_wipe(drive: "Drive", crew: Crew, trials: int) -> dict[str, Any]:
    """Compare when the steps of equal plans start, with and without an empty broker."""
    broker = redis.Redis.from_url(crew.stage.endpoints.redis_url)
    steps = crew.size * crew.concurrency * WAITING
    added: list[float] = []
    for _ in range(trials):
        _until(partial(_is_complete, crew))
        plain = _starts(drive, steps, lambda: None)
        wiped = _starts(drive, steps, broker.flushall)
        added += [late - early for early, late in zip(plain, wiped, strict=True)]
    return longest(added)


def _starts(drive: "Drive", steps: int, fault: Callable[[], Any]) -> list[float]:
    """Return the seconds from the approval to the start of each step, in order."""
    run = _started(drive, steps, SHORT_S)
    begun = _now()
    done = run.steps.filter(state=StepState.SUCCEEDED)
    _until(lambda: done.count() >= steps / WAITING)
    fault()
    _until(lambda: _has_ended(run))
    attempts = Attempt.objects.filter(step_run__run=run, fence=1)
    times = attempts.order_by("recorded_at").values_list("recorded_at", flat=True)
    return [(at - begun).total_seconds() for at in times]


def _started(drive: "Drive", steps: int, seconds: float) -> Run:
    """Propose and approve a plan of parallel steps that may be repeated."""
    name = f"calm{next(_numbers)}"
    made = [
        builders.step(
            f"{name}-s{number}",
            "again",
            skill="chaos",
            params={
                "mark": f"{name}-s{number}",
                "effect": True,
                "before": seconds,
                "after": 0.0,
            },
        )
        for number in range(steps)
    ]
    text = builders.plan(*made, id=name, parallel=True)
    run = builders.proposed(text, drive.proposer)
    builders.decided(builders.open_gate(run), drive.operator)
    return run


def _is_complete(crew: Crew) -> bool:
    crew.renew()
    return len(crew.ready()) == crew.size


def _is_busy(run: Run, slots: int) -> bool:
    """Return True if all slots are taken; on a slow machine some steps end before."""
    running = run.steps.filter(state=StepState.RUNNING).count()
    return running == slots or _has_ended(run)


def _has_ended(run: Run) -> bool:
    return Run.objects.filter(pk=run.pk, state__in=FINAL_RUN).exists()


def _now() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (now,) = cursor.fetchone()
    return datetime.fromtimestamp(now.timestamp(), UTC)


def _until(true: Callable[[], object]) -> None:
    """Wait until it is so.

    :raises TimeoutError: when it takes far too long
    """
    until = time.monotonic() + AT_MOST_S
    while not true():
        if time.monotonic() > until:
            raise TimeoutError(str(true))
        time.sleep(POLL_S)
