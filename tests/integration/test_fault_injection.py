"""An error at any statement and at any call of a worker or a keeper costs nothing.

One run is taken to its end for each place and error: the error is raised there once,
and what must hold is checked afterwards. The places are found by watching a run.
"""

import errno
import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import cycle
from typing import Any

import psycopg
import pytest
from django.db import IntegrityError, OperationalError

from execfabric.infra import disk
from execfabric.lib import clock
from orchestration.runs import dispatch, live
from orchestration.runs.engine import artifacts, attempts
from orchestration.runs.engine.loading import RunCache
from orchestration.runs.keeper import sweep
from orchestration.runs.models import Run, StepRun
from orchestration.runs.worker import answers, outage, work
from orchestration.runs.worker.handover import HandoverNotes
from orchestration.runs.worker.monitor import AttemptMonitor
from orchestration.runs.worker.step_log import StepLog, Window
from orchestration.skills.domain.outcome import Succeeded
from orchestration.skills.execution import Runner, wire
from orchestration.skills.execution import runner as execution
from orchestration.skills.services import secrets
from tests.builders import approved, chain, claimed, plan, states, step

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]
NO_SPACE = OSError(errno.ENOSPC, "No space left on device")
SERVER_AWAY = psycopg.OperationalError("the server closed the connection")
IN_STATEMENTS = [
    SERVER_AWAY,
    psycopg.IntegrityError("duplicate key"),
    TypeError("broken"),
    NO_SPACE,
]
IN_CALLS = [
    TypeError("broken"),
    NO_SPACE,
    IntegrityError("duplicate key"),
    OperationalError("the server is away"),
]
STATEMENTS = [(psycopg.Cursor, "execute"), (psycopg.Connection, "commit")]
OWNERS = [
    Runner,
    StepLog,
    Window,
    AttemptMonitor,
    HandoverNotes,
    RunCache,
    artifacts,
    attempts,
]
SINGLE = [
    (dispatch, "hint"),
    (disk, "shortage"),
    (execution, "answer_masked"),
    (live, "committed"),
    (live, "run_changed"),
    (answers, "declared_output"),
    (answers, "mask_files"),
    (answers, "validate_output"),
    (secrets, "read"),
    (wire, "send"),
    (work, "discard"),
]
MOST_VISITS = 2
"""How often a place is tried that a run comes to again and again."""
UNFINISHED = ("ready", "running", "backoff", "pending")


def public(owner: Any) -> list[tuple[Any, str]]:
    """Return the public functions that a class or a module defines."""
    module = owner.__module__ if inspect.isclass(owner) else owner.__name__
    return [
        (owner, name)
        for name, found in vars(owner).items()
        if inspect.isfunction(found)
        and found.__module__ == module
        and not name.startswith("_")
    ]


CALLS = [*(place for owner in OWNERS for place in public(owner)), *SINGLE]


@dataclass
class Faults:
    """Raises one error at one of the places that this thread comes to."""

    places: list[str] = field(default_factory=list)
    target: int = -1
    after: bool = False
    error: Exception | None = None
    is_armed: bool = False
    fired: str = ""
    was_sent: bool = False
    is_known: bool = False
    """Whether the worker has the answer that the effect happened."""
    _thread: int = field(default_factory=threading.get_ident)

    def watch(self, monkeypatch: Any, places: list[tuple[Any, str]]) -> None:
        """Stand in for each of these functions."""
        for owner, name in places:
            real = getattr(owner, name)
            label = f"{getattr(owner, '__name__', owner)}.{name}"
            monkeypatch.setattr(owner, name, self._around(label, real))

    def arm(self, target: int, error: Exception | None, *, after: bool = False) -> None:
        """Raise `error` at the place with this number, before or after it is done."""
        self.target, self.error, self.after = target, error, after
        self.places = []
        self.fired, self.was_sent, self.is_known = "", False, False
        self.is_armed = True

    def _around(self, label: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            if not self.is_armed or threading.get_ident() != self._thread:
                return real(*given, **named)
            number = len(self.places)
            self.places.append(label)
            if number == self.target and not self.after:
                self._raise(label)
            result = real(*given, **named)
            self._note(label, result)
            if number == self.target and self.after:
                self._raise(f"after {label}")
            return result

        return call

    def _note(self, label: str, result: Any) -> None:
        self.was_sent |= label == f"{wire.__name__}.send"
        self.is_known |= label == "Runner.poll" and isinstance(result, Succeeded)

    def _raise(self, label: str) -> None:
        if self.error is not None:
            self.is_armed, self.fired = False, f"{label}: {self.error!r}"
            raise self.error


@pytest.fixture
def faults(monkeypatch) -> Faults:
    monkeypatch.setattr(outage, "MAX_PAUSE_S", 0.0)
    return Faults()


@pytest.fixture
def effect(proposer, operator) -> Iterator[Callable[[int], Run]]:
    """Build a run with one effect that cannot be repeated, and a file read after it."""

    def made(number: int) -> Run:
        params = {"mark": f"{number}", "say": 2, "file": f"text {number}"}
        text = plan(
            step("effect", "witness", params=params),
            step(
                "reads", "read", after="effect", params={"file": "$effect.files.note"}
            ),
        )
        return approved(text, proposer, operator)

    return made


def settled(run: Run, worker: work.WorkerContext) -> None:
    """Return the run after keepers and workers have done all they can."""
    for _ in range(4):
        if not run.steps.filter(state__in=UNFINISHED[:3]).exists():
            return
        StepRun.objects.filter(run=run, state="running").update(
            lease_until=run.created_at
        )
        later = clock.now() + timedelta(minutes=1)
        sweep.sweep(at=later)
        for ready in run.steps.filter(state="ready"):
            work.work(step_run_id=ready.id, context=worker)


def broken(run: Run, faults: Faults, lines: int) -> Iterator[str]:
    """Return the violated rules of a run with an injected fault."""
    effect = run.steps.get(key="effect")
    ran = (effect.error or {}).get("ran")
    if lines > 1:
        yield f"{lines} effects"
    if effect.state in UNFINISHED:
        yield f"stuck as {effect.state}"
    if effect.state == "failed" and ran is False and lines:
        yield "an effect recorded as nothing ran"
    if effect.state == "indeterminate" and not faults.was_sent:
        yield "unknown although never handed over"
    if faults.is_known and (effect.state, ran) not in {
        ("succeeded", None),
        ("failed", True),
    }:
        yield f"a known result became {effect.state}, ran: {ran}"
    if effect.state == "succeeded" and states(run)["reads"] in UNFINISHED:
        yield f"the next step is {states(run)['reads']}"


def usable(worker: work.WorkerContext, tmp_path: Any) -> Iterator[str]:
    """Return the faults of a worker between two steps."""
    call = execution.WireCall(
        handler="lab.echo@1",
        params={},
        workdir=tmp_path / "work",
        idempotency_key="key",
        deadline_s=20.0,
    )
    if worker.runner.busy:
        yield "the runner is busy"
    elif worker.runner.complete(call) != Succeeded():
        yield "the runner does not answer"


@dataclass
class Scene:
    """A worker, the runs it works on, and the faults that come to it."""

    faults: Faults
    effect: Callable[[int], Run]
    worker: work.WorkerContext
    witness: Any
    tmp_path: Any
    number: int = 0
    problems: list[str] = field(default_factory=list)
    fired: set[str] = field(default_factory=set)

    def watched(self) -> list[str]:
        """Return the places that a run without faults passes."""
        self.run(-1, None)
        return self.faults.places

    def run(self, target: int, error: Exception | None, *, after: bool = False) -> None:
        """Take one run to its end with one fault, and look at what came of it."""
        self.number += 1
        run = self.effect(self.number)
        first = run.steps.get(state="ready").id
        self.faults.arm(target, error, after=after)
        with suppress(Exception):
            work.work(step_run_id=first, context=self.worker)
        self.faults.is_armed = False
        self.problems += [
            f"{self.faults.fired}: {problem}"
            for problem in usable(self.worker, self.tmp_path)
        ]
        settled(run, self.worker)
        lines = [line.split()[0] for line in self.witness.read()]
        self.fired.add(self.faults.fired)
        self.problems += [
            f"{self.faults.fired}: {problem}"
            for problem in broken(run, self.faults, lines.count(str(self.number)))
        ]


@pytest.fixture
def scene(faults, effect, worker, witness, tmp_path) -> Scene:
    made = Scene(faults, effect, worker, witness, tmp_path)
    made.run(-1, None)
    return made


def test_no_error_at_a_statement_of_a_worker_costs_anything(scene, faults, monkeypatch):
    faults.watch(monkeypatch, STATEMENTS)

    places = scene.watched()
    for number in range(len(places)):
        for error in IN_STATEMENTS:
            scene.run(number, error)
        scene.run(number, SERVER_AWAY, after=True)

    assert not scene.problems, "\n".join(scene.problems)
    assert len(scene.fired) > len(IN_STATEMENTS)


def test_no_error_in_a_call_of_a_worker_costs_anything(scene, faults, monkeypatch):
    faults.watch(monkeypatch, CALLS)
    errors = cycle(IN_CALLS)

    places = scene.watched()
    for number, place in enumerate(places):
        if places[:number].count(place) < MOST_VISITS:
            scene.run(number, next(errors))

    assert not scene.problems, "\n".join(scene.problems)
    assert len(scene.fired) > len(set(places)) / 2


def test_no_error_at_a_statement_of_a_sweep_costs_anything(
    faults, monkeypatch, proposer, operator, worker
):
    def swept(target: int, error: Exception | None, *, after: bool = False) -> Run:
        """Return a run with a lost worker, after a failed and a good sweep."""
        run = approved(chain(2), proposer, operator)
        assert claimed(run, "s0")
        lost = StepRun.objects.filter(run=run, state="running")
        lost.update(lease_until=run.created_at)
        faults.arm(target, error, after=after)
        with suppress(Exception):
            sweep.sweep(at=clock.now())
        faults.is_armed = False
        later = clock.now() + timedelta(minutes=1)
        sweep.sweep(at=later)
        settled(run, worker)
        run.refresh_from_db()
        return run

    swept(-1, None)
    faults.watch(monkeypatch, STATEMENTS)
    errors = cycle(IN_STATEMENTS)
    swept(-1, None)
    ended = {}
    for number in range(len(faults.places)):
        ended[f"{number}"] = swept(number, next(errors)).state
        ended[f"after {number}"] = swept(number, SERVER_AWAY, after=True).state

    assert set(ended.values()) == {"succeeded"}, ended
