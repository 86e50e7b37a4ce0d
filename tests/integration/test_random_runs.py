"""Random plans with every construct, moved by random workers, users and keepers.

Several of them act at the same time on two runs, with real commits. Nothing may raise but
a named refusal, each run has to end, and its record has to explain every row.
"""

import os
import random
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from approvals.models import Gate
from execfabric.identity.models import User
from execfabric.lib import canonical, clock
from execfabric.lib.ids import span_id
from execfabric.lib.refusal import Refusal
from orchestration.plans.services import saving
from orchestration.runs.control import answers, control, events, gates, recovery
from orchestration.runs.domain.results import Failure, Finished, Lost, Result
from orchestration.runs.domain.states import FINAL_RUN, FINAL_STEP, RunState, StepState
from orchestration.runs.engine import attempts
from orchestration.runs.engine.loading import RunCache
from orchestration.runs.keeper import sweep
from orchestration.runs.models import Run, StepRun
from orchestration.trace.services import streams
from tests.builders import OPEN, proposed
from tests.random_plans import documents, plans

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]

RUNS = int(os.environ.get("EXECFABRIC_RANDOM_RUNS", "4"))
"""One plan takes some seconds; `make random` tries more."""
ACTORS, TURNS, LAST_TURNS = 3, 40, 600
FAR_H = 30
"""Hours that a keeper may jump: all waits and approvals are over by then."""
MOVABLE = {"gated", "queued", "waiting", "ready", "running", "backoff", "indeterminate"}
STILL_UNKNOWN = {StepState.INDETERMINATE, StepState.EXPANDED, StepState.FALLING_BACK}
RESULTS: list[Result] = [
    Finished({"n": 1}, {}),
    Failure("lab.refused", "The target said no."),
    Failure("lab.busy", "The target is busy.", again=True),
    Failure("lab.early", "No target is configured.", ran=False),
    Lost("lab.silent", "The target did not answer."),
]


@dataclass
class Actor:
    """One who acts on runs: a worker with its own copies, a user, a keeper or a sender."""

    runs: list[Run]
    operator: User
    rng: random.Random
    leases: list[attempts.Lease] = field(default_factory=list)
    cache: RunCache = field(default_factory=lambda: RunCache(2))
    is_calm: bool = False

    def turn(self) -> None:
        """Do one thing; a refusal is an answer like any other."""
        acts: list[Callable[[], Any]] = [self.claim] * 5 + [self.complete] * 6
        acts += [self.decide] * 4 + [self.sweep] * 2 + [self.resolve, self.resume]
        acts += [self.send] if self.is_calm else [self.send, self.pause]
        with suppress(Refusal):
            self.rng.choice(acts)()

    def claim(self) -> None:
        if step := self._any(StepRun, state=StepState.READY):
            lease = attempts.claim(
                step_run_id=step.id, cache=self.cache, **self._worker()
            )
            self.leases += [lease] if lease else []

    def complete(self) -> None:
        if self.leases:
            lease = self.leases.pop(self.rng.randrange(len(self.leases)))
            weights = [9 if self.is_calm else 2, *[0.2] * 4]
            [result] = self.rng.choices(RESULTS, weights)
            following = attempts.complete(
                lease, result, cache=self.cache, logged=False, **self._worker()
            )
            self.leases += [following] if following else []

    def decide(self) -> None:
        ids = [run.id for run in self.runs]
        gate = self._any(Gate, context_id__in=ids, status__in=OPEN, of_runs=False)
        if gate is None:
            return
        seen: dict[str, Any] = {
            "gate_id": gate.id,
            "by": self.operator.actor(),
            "digest": bytes(gate.digest).hex(),
            "channel": "api",
            "at": clock.now(),
        }
        if "form" in canonical.loads(bytes(gate.subject)):
            answers.answer(values={"n": self.rng.choice([1, 3, "x"])}, **seen)
        else:
            approve = self.is_calm or self.rng.random() < 0.9
            gates.decide(approve=approve, comment="" if approve else "No.", **seen)

    def sweep(self) -> None:
        hours = self.rng.choice([0, 0, 0.1, FAR_H if self.rng.random() < 0.1 else 2])
        sweep.sweep(at=clock.now() + timedelta(hours=hours))

    def send(self) -> None:
        events.send(
            type="came",
            key="k",
            payload={"n": self.rng.randrange(4)},
            by=self.operator.actor(),
            at=clock.now(),
        )

    def resolve(self) -> None:
        if step := self._any(StepRun, state=StepState.INDETERMINATE):
            recovery.resolve(
                step_run_id=step.id,
                happened=self.rng.random() < 0.5,
                evidence="Looked at the target.",
                output={"n": 2},
                **self._by(),
            )

    def resume(self) -> None:
        control.resume(run_id=self.rng.choice(self.runs).id, **self._by())

    def pause(self) -> None:
        act = control.cancel if self.rng.random() < 0.1 else control.pause
        act(run_id=self.rng.choice(self.runs).id, **self._by())

    def _by(self) -> dict[str, Any]:
        return {"by": self.operator.actor(), "at": clock.now()}

    def _worker(self) -> dict[str, Any]:
        return {"worker": "w", "session": span_id(), "at": clock.now()}

    def _any(self, model: Any, *, of_runs: bool = True, **fields: Any) -> Any:
        rows = model.objects.filter(**fields)
        rows = rows.filter(run__in=self.runs) if of_runs else rows
        found = list(rows.order_by("pk"))
        return self.rng.choice(found) if found else None

    def act(self, turns: int) -> None:
        try:
            for _ in range(turns):
                self.turn()
        finally:
            connection.close()


def test_runs_of_random_plans_end_and_their_records_explain_them(
    proposer, operator, monkeypatch, caplog
):
    # Here no attempt has a process, so a lost one is dead at once.
    monkeypatch.setattr(recovery, "require_dead", lambda *_: None)

    @settings(
        max_examples=RUNS,
        derandomize=RUNS < 10,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(plan=plans(), seed=st.integers(0, 2**32))
    def check(plan, seed):
        rng = random.Random(seed)
        *parts, whole = [as_lab(text) for text in documents(plan).values()]
        for text in parts:
            saving.save_plan(text=text, by=proposer.actor(), at=clock.now())
        runs = [proposed(whole, proposer, {"n": n}) for n in (0, rng.randrange(4))]
        ended(runs, operator, rng)
        looked_at(runs, operator)

    check()
    assert [r.getMessage() for r in caplog.records if r.levelname == "ERROR"] == []


def as_lab(text: str) -> str:
    """Let the steps of a random plan be those of an action that is installed."""
    echo = '"action": "echo", "params": {"n": "$inputs.n"}'
    return text.replace('"action": "yield"', echo)


def ended(runs: list[Run], operator: User, rng: random.Random) -> None:
    """Let several act at once, and then one until both runs have ended."""
    some = [Actor(runs, operator, random.Random(rng.random())) for _ in range(ACTORS)]
    with ThreadPoolExecutor(ACTORS) as pool:
        for done in [pool.submit(actor.act, TURNS) for actor in some]:
            done.result()
    last = Actor(runs, operator, rng, is_calm=True)
    last.leases = [lease for actor in some for lease in actor.leases]
    left = Run.objects.filter(pk__in=[run.pk for run in runs])
    left = left.exclude(state__in=FINAL_RUN)
    for turn in range(LAST_TURNS):
        if not left.exists():
            break
        last.turn()
        if turn > LAST_TURNS / 2:
            given_up(left, operator)
    while last.leases:
        last.complete()


def given_up(runs: Iterable[Run], operator: User) -> None:
    """Cancel runs that go on failing; none of them may wait for nothing."""
    for run in runs:
        states = set(run.steps.values_list("state", flat=True))
        assert run.state == RunState.PAUSED or states & MOVABLE, states
        with suppress(Refusal):
            control.cancel(run_id=run.id, by=operator.actor(), at=clock.now())


def looked_at(runs: list[Run], operator: User) -> None:
    client = Client()
    client.force_login(operator)
    for run in runs:
        run.refresh_from_db()
        rows = list(run.steps.values_list("key", "item", "state", "error"))
        assert run.state in FINAL_RUN, rows
        states = {StepState(state) for _, _, state, _ in rows}
        unknown = STILL_UNKNOWN if StepState.INDETERMINATE in states else set()
        assert states <= FINAL_STEP | unknown, rows
        verified = streams.verify_now(run.stream)
        assert verified is not None
        assert verified.whole, verified
        for page in ("", "?view=graph", "/live"):
            assert client.get(f"/runs/{run.pk}{page}").status_code == 200
