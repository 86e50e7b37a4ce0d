"""A kill or an error at any statement of a rollback: order kept, no undo twice.

Each run has five steps with undos that cannot be repeated. One process begins the rollback
and works it off; it is killed before one of its statements, or the statement fails there.
Then a keeper and another worker do the rest, and an operator resolves unknown outcomes by
what the witness file shows.
"""

import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from itertools import cycle
from typing import Any

import psycopg
import pytest
from django.db import connections

from execfabric.lib import clock
from orchestration.runs.control import recovery
from orchestration.runs.domain.results import Finished
from orchestration.runs.keeper import sweep
from orchestration.runs.models import Attempt, Run, StepRun
from orchestration.runs.worker import outage, work
from tests.builders import NOON, a_worker, approved, claimed, completed
from tests.database import record_attempts
from tests.integration.rollback_builders import marks, rolled_back, undoable
from tests.integration.test_fault_injection import (
    IN_STATEMENTS,
    STATEMENTS,
    Faults,
)

pytestmark = [
    pytest.mark.django_db(transaction=True),
    # A rollback of five steps for each of its statements.
    pytest.mark.timeout(3600),
    pytest.mark.usefixtures("registry"),
]
STEPS = 5
WANTED = [f"undo-s{number}" for number in reversed(range(STEPS))]
ROUNDS = 12
"""More rounds of resolving and continuing than any one fault can need."""


@pytest.fixture
def done_run(proposer, operator, witness) -> Callable[[], Run]:
    """Build a run whose steps have succeeded, without a worker."""

    def made() -> Run:
        run = approved(undoable(STEPS), proposer, operator)
        lease = claimed(run, "s0")
        while lease is not None:
            lease = completed(lease, Finished({"mark": lease.key}, {}))
        run.refresh_from_db()
        assert run.state == "succeeded"
        witness.path.unlink(missing_ok=True)
        return run

    return made


def undone(run: Run, by: Any, context: work.WorkerContext) -> None:
    """Begin the rollback of a run, and do all its undos."""
    rolled_back(run, by)
    work_off(run, context)


def work_off(run: Run, context: work.WorkerContext) -> None:
    while ready := run.steps.filter(state="ready").first():
        work.work(step_run_id=ready.id, context=context)


def settle(run: Run, by: Any, admin: Any, witness: Any, worker: Any) -> list[str]:
    """Let keeper, worker and people bring a rollback to its end; return its marks."""
    for _ in range(ROUNDS):
        StepRun.objects.filter(run=run, state="running").update(lease_until=NOON)
        attempts = Attempt.objects.filter(step_run__run=run)
        record_attempts(timedelta(days=1), attempts)
        sweep.sweep(at=clock.now() + timedelta(minutes=1))
        work_off(run, worker)
        run.refresh_from_db()
        if run.state == "rolled_back":
            break
        for step in run.steps.filter(state="indeterminate"):
            _resolve(step, admin, marks(witness))
        run.refresh_from_db()  # the last undo that happened ends the rollback
        if run.state in {"succeeded", "rollback_failed"}:
            undone(run, by, worker)
    return marks(witness)


def _resolve(step: StepRun, admin: Any, seen: list[str]) -> None:
    mark = f"undo-{step.key.removesuffix('.undo')}"
    recovery.resolve(
        step_run_id=step.id,
        happened=mark in seen,
        evidence="The witness file.",
        output={"mark": mark} if mark in seen else None,
        by=admin.actor(),
        at=clock.now(),
    )


def in_child(act: Callable[[], None]) -> int:
    """Run `act` in a process of its own; return its exit code."""
    connections.close_all()
    pid = os.fork()
    if pid == 0:
        try:
            act()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def killed_before(number: int) -> None:
    """Kill this process before the statement of its main thread with this number."""
    seen = 0

    def around(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            nonlocal seen
            if threading.current_thread() is threading.main_thread():
                if seen == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                seen += 1
            return real(*given, **named)

        return call

    for owner, name in STATEMENTS:
        setattr(owner, name, around(getattr(owner, name)))


def test_a_kill_before_any_statement_keeps_the_order_and_undoes_nothing_twice(
    done_run, operator, admin, worker, witness
):
    problems, number, code = [], 0, -signal.SIGKILL
    while code == -signal.SIGKILL:
        run = done_run()

        def act(run: Run = run, number: int = number) -> None:
            killed_before(number)
            undone(run, operator, a_worker("doomed"))

        code = in_child(act)
        found = settle(run, operator, admin, witness, worker)
        if found != WANTED or run.state != "rolled_back":
            problems.append(f"killed before {number}: {run.state} {found}")
        number += 1

    assert not problems, "\n".join(problems)
    assert number > STEPS * 5, "the rollback has too few statements"


def test_an_error_at_any_statement_keeps_the_order_and_undoes_nothing_twice(
    done_run, operator, admin, worker, witness, monkeypatch
):
    monkeypatch.setattr(outage, "MAX_PAUSE_S", 0.0)
    faults, problems = Faults(), []
    errors = cycle([*IN_STATEMENTS, psycopg.DataError("broken")])

    def faulty(target: int, error: Exception | None) -> int:
        run = done_run()
        faults.arm(target, error)
        with suppress(Exception):
            undone(run, operator, worker)
        faults.is_armed = False
        connections.close_all()  # as before the next request of a web process
        found = settle(run, operator, admin, witness, worker)
        if found != WANTED or run.state != "rolled_back":
            problems.append(f"{faults.fired} at {target}: {run.state} {found}")
        return len(faults.places)

    faulty(-1, None)
    faults.watch(monkeypatch, STATEMENTS)
    for target in range(faulty(-1, None)):
        faulty(target, next(errors))

    assert not problems, "\n".join(problems)
