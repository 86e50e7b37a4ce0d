"""The only code that writes a run's or a step run's state.

A change is one transaction under the run's row lock. Moves are looked up in the
table when they are made and written by compare-and-swap when the change closes,
together with their events.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction

from approvals import selectors as approvals
from approvals.domain.policy import Rule
from audit import services as audit
from audit.services import Fact, RowFact
from execfabric.database import Write
from execfabric.lib.actor import Actor
from orchestration.plans import selectors as plans
from orchestration.plans.domain.document import PlanDocument, StepDocument
from orchestration.runs import dispatch, history, live
from orchestration.runs.domain.states import (
    FINAL_RUN,
    FINAL_STEP,
    RUN,
    STEP_RUN,
    RunEvent,
    RunState,
    StepEvent,
    StepState,
)
from orchestration.runs.errors import RunUnknown, StepUnknown
from orchestration.runs.models import Attempt, Run, StepRun
from orchestration.runs.services import store
from orchestration.runs.services.loading import Loaded, Memory, load

HINTS_AT_ONCE = 16
LEASE = "lease"
"""A value of `lease_until` that stands for the database's clock plus the lease."""


@dataclass
class _Pending:
    state: str
    fence: int
    fields: dict[str, Any] = field(default_factory=dict)


@dataclass
class Change:
    """One transaction on one run: its rows as they will be, and what happened."""

    loaded: Loaded
    document: PlanDocument
    by: Actor
    at: datetime
    facts: list[Fact] = field(default_factory=list)
    """What happened, in order: appended to the run's stream when the change closes."""
    ready: dict[str, StepRun] = field(default_factory=dict)
    """Steps that this change made ready and that nobody has claimed yet."""
    built: dict[str, Any] = field(default_factory=dict)
    """Specs built in this change, so that they need not be built twice."""
    _steps: dict[str, _Pending] = field(default_factory=dict)
    _run: dict[str, Any] = field(default_factory=dict)
    _run_state: str = ""
    _attempts: list[Attempt] = field(default_factory=list)
    _writes: list[Write] = field(default_factory=list)

    @property
    def run(self) -> Run:
        """The run, locked."""
        return self.loaded.run

    @property
    def steps(self) -> dict[str, StepRun]:
        """Its step runs by key, in the order of the plan."""
        return self.loaded.steps

    def step(self, key: str) -> StepRun:
        """The step run of that key.

        :raises StepUnknown: when the run has none
        """
        try:
            return self.steps[key]
        except KeyError:
            raise StepUnknown(step=key) from None

    def step_by_id(self, step_run_id: UUID) -> StepRun:
        """The step run of that id.

        :raises StepUnknown: when the run has none
        """
        for step in self.steps.values():
            if step.id == step_run_id:
                return step
        raise StepUnknown(step_run=str(step_run_id))

    def rules(self) -> list[Rule]:
        """The policies in force."""
        return approvals.policies_in_force() if self.loaded.any_policy else []

    def plan_step(self, key: str) -> StepDocument:
        """What the plan says of a step."""
        return self.document.step(key)

    def record(
        self,
        kind: str,
        payload: dict[str, Any],
        *,
        step: str = "",
        session: str = "",
        rows: Iterable[RowFact] = (),
    ) -> None:
        """Add a fact to this change's events.

        `session` is that of an attempt, where the fact belongs to one; `rows` are the
        columns that this change sets.
        """
        component = f"step:{step}" if step else f"run:{self.document.id}"
        self.facts.append(Fact(kind, payload, step, session, component, tuple(rows)))

    def move_step(
        self,
        step: StepRun,
        event: StepEvent,
        payload: dict[str, Any] | None = None,
        *,
        session: str = "",
        rows: Iterable[RowFact] = (),
        **fields: Any,
    ) -> None:
        """Move a step run by the table; `fields` change with it.

        `session` and `rows` are those of the attempt that the move begins or ends.

        :raises IllegalTransition: when the table has no such row
        """
        source = StepState(step.state)
        target = STEP_RUN.next(source, event)
        pending = self._steps.setdefault(step.key, _Pending(step.state, step.fence))
        fields["state"] = str(target)
        fields["finished_at"] = self.at if target in FINAL_STEP else None
        if target is not StepState.RUNNING:
            fields["lease_until"] = None
        pending.fields |= fields
        for name, value in fields.items():
            setattr(step, name, value)
        if target is StepState.READY:
            self.ready[step.key] = step
        else:
            self.ready.pop(step.key, None)
        fact = {"from": str(source), "to": str(target), **(payload or {})}
        written = (history.STEP.changed(step, fields), *rows)
        self.record(f"step.{event}", fact, step=step.key, session=session, rows=written)

    def move_run(self, event: RunEvent, reason: str = "", **fields: Any) -> None:
        """Move the run by the table.

        :raises IllegalTransition: when the table has no such row
        """
        source = RunState(self.run.state)
        target = RUN.next(source, event)
        self._run_state = self._run_state or self.run.state
        fields["state"] = str(target)
        fields["reason"] = reason
        fields["finished_at"] = self.at if target in FINAL_RUN else None
        self._run |= fields
        for name, value in fields.items():
            setattr(self.run, name, value)
        fact = {"from": str(source), "to": str(target)}
        if reason:
            fact["reason"] = reason
        self.record(f"run.{event}", fact, rows=[history.RUN.changed(self.run, fields)])

    def bind_gate(self, gate_id: UUID) -> None:
        """Make a gate the run's plan gate in force."""
        self._run["gate_id"] = self.run.gate_id = gate_id

    def add_attempt(self, attempt: Attempt) -> None:
        """Have a new attempt written with this change."""
        self._attempts.append(attempt)

    def add(self, write: Write) -> None:
        """Have a statement sent with this change, before its states are written."""
        self._writes.append(write)

    def close(self, *, commit: bool = False) -> None:
        """Write everything: rows by compare-and-swap, attempts, events, hints.

        With `commit`, the commit goes out together with the last statements.
        """
        writes = [
            *self._writes,
            *self._step_writes(),
            *self._run_writes(),
            *(store.add_attempt(attempt) for attempt in self._attempts),
        ]
        if self.facts:
            appended, end = audit.chained(
                self.run.stream,
                self.facts,
                end=self.loaded.end,
                by=self.by,
                at=self.at,
                trace_id=self.run.trace_id,
            )
            writes += appended
            live.run_changed(self.run.id, end.seq)
        self._wrote(store.write(writes, commit=commit))
        if self.run.state == RunState.RUNNING:
            dispatch.hint([step.id for step in self._hinted().values()])

    def _wrote(self, version: str) -> None:
        """Note the version of the rows written, so that they are not read again."""
        seen = self.loaded.seen
        seen.steps |= dict.fromkeys(self._steps, version)
        if self._run:
            seen.run = version

    def _hinted(self) -> dict[str, StepRun]:
        """The ready steps that workers are told of now.

        Who takes one goes on through all that are ready; for more workers than this
        the keeper hints again.
        """
        return dict(islice(self.ready.items(), HINTS_AT_ONCE))

    def _step_writes(self) -> Iterator[Write]:
        hinted = self._hinted()
        for key, pending in self._steps.items():
            fields = dict(pending.fields)
            if key in hinted:
                fields["hinted_at"] = self.at
            leased = fields.get("lease_until") == LEASE
            yield store.update(
                "runs_steprun",
                self.steps[key].pk,
                fields,
                state=pending.state,
                fence=pending.fence,
                lease_seconds=settings.LEASE_SECONDS if leased else 0,
            )

    def _run_writes(self) -> Iterator[Write]:
        if self._run:
            state = self._run_state or self.run.state
            yield store.update("runs_run", self.run.pk, self._run, state=state)


@contextmanager
def change(
    run_id: UUID, *, by: Actor, at: datetime, memory: Memory | None = None
) -> Iterator[Change]:
    """Open one transaction on a run, its row locked; write all of it at the end.

    Durable, because an effect must never follow an intent that may still be
    rolled back. Lock order everywhere: run, gate, stream. With `memory`, a run that
    nobody has touched since is not read again, and is remembered once it is committed.

    :raises RunUnknown: when there is no such run
    """
    with transaction.atomic(durable=True):
        opened = open_change(run_id, by=by, at=at, memory=memory)
        yield opened
        opened.close(commit=True)
    if memory is not None:
        memory.keep(opened.loaded)


def open_change(
    run_id: UUID, *, by: Actor, at: datetime, memory: Memory | None = None
) -> Change:
    """Lock and load a run for a change that the caller closes in its transaction."""
    loaded = load(run_id, memory)
    if loaded is None:
        raise RunUnknown(run=str(run_id))
    return Change(
        loaded=loaded,
        document=plans.document(loaded.run.revision),
        by=by,
        at=at,
    )
