"""Change runs: the only code that writes the state of runs, step runs and attempts.

A change is made in memory, each move by the state table, and written with its events in
one statement. That compares and swaps the end of the run's stream, so of two changes to
the same state one is refused. `locking` makes the changes.
"""

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from audit.services import Fact, RowFact
from execfabric.lib.actor import Actor
from orchestration.plans.domain.conditions import NamedValues
from orchestration.plans.domain.document import StepDocument
from orchestration.runs import alerts, dispatch, history, live
from orchestration.runs.domain import sla
from orchestration.runs.domain.states import (
    ATTEMPT,
    FINAL_RUN,
    FINAL_STEP,
    RUN,
    STEP_RUN,
    AttemptEvent,
    Phase,
    RunEvent,
    RunState,
    StepEvent,
    StepState,
)
from orchestration.runs.engine import store, versions
from orchestration.runs.engine.loading import LoadedRun
from orchestration.runs.engine.store import PendingWrites, Record
from orchestration.runs.engine.versions import Returned
from orchestration.runs.errors import StepUnknown
from orchestration.runs.models import Run, StepRun

HINTS_AT_ONCE = 16
_RESULT = ("output", "files")


class LockRequired(Exception):
    """The change cannot be made without the run's lock."""


@dataclass
class RunChange:
    """One transaction on one run: its new rows and the events that explain them."""

    loaded: LoadedRun
    by: Actor
    at: datetime
    is_locked: bool = True
    """False for an optimistic change of a cached run."""
    facts: list[Fact] = field(default_factory=list)
    built: dict[UUID, Any] = field(default_factory=dict)
    """Specs built in this change, so that none is built twice."""
    subplan_inputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Inputs of the sub-plans that this change starts, by their specs' digests."""
    results: dict[tuple[UUID, str], tuple[Any, Any]] = field(default_factory=dict)
    """Checked output and files of steps, by step run and recorded digest."""
    returned: list[Returned] = field(default_factory=list)
    spec_bytes: int = 0
    condition_s: float = 0.0
    condition_values: NamedValues = field(default_factory=NamedValues)
    _written: PendingWrites = field(default_factory=PendingWrites)
    _released: dict[UUID, Fact] = field(default_factory=dict)
    _completed: dict[int, StepRun] = field(default_factory=dict)
    """The steps that succeed, by the identity of their fact."""
    _before: list[tuple[StepRun | Run, Record]] = field(default_factory=list)
    """The rows before this change, to restore the cached run."""

    @property
    def run(self) -> Run:
        return self.loaded.run

    @property
    def steps(self) -> dict[UUID, StepRun]:
        return self.loaded.steps

    def step(self, step_run_id: UUID) -> StepRun:
        """Return a step run.

        :raises StepUnknown: when the run does not have it
        """
        try:
            return self.steps[step_run_id]
        except KeyError:
            raise StepUnknown(step_run=str(step_run_id)) from None

    def plan_step(self, step: StepRun) -> StepDocument:
        return self.loaded.planned(step)

    def pin_of(self, step: StepRun) -> dict[str, Any] | None:
        """Return the skill version or the saved plan that a step is bound to."""
        pin: dict[str, Any] | None = self.run.pins.get(self.loaded.path(step))
        return pin

    def require_lock(self) -> None:
        """Check that the run is locked.

        :raises LockRequired: when the run is not locked
        """
        if not self.is_locked:
            raise LockRequired

    def record(
        self,
        kind: str,
        payload: dict[str, Any],
        *,
        step: str = "",
        path: str = "",
        session: str = "",
        rows: Iterable[RowFact] = (),
    ) -> Fact:
        """Add an event to this change.

        `path` names a step of a sub-plan in the trace; `session` is the id of the
        attempt or sub-plan that it belongs to; `rows` are the columns that it explains.
        """
        component = f"step:{path or step}" if step else f"run:{self.loaded.document.id}"
        fact = Fact(kind, payload, step, session, component, tuple(rows))
        self.facts.append(fact)
        return fact

    def record_of(
        self,
        step: StepRun,
        kind: str,
        payload: dict[str, Any],
        *,
        session: str = "",
        rows: Iterable[RowFact] = (),
    ) -> Fact:
        """Add an event about a step run, with its place if it was added to the run."""
        if step.is_added:
            payload = payload | self.loaded.place_of(step)
        path = self.loaded.path(step)
        own = session or self.loaded.session_of(step)
        return self.record(
            kind, payload, step=step.key, path=path, session=own, rows=rows
        )

    def expand(
        self,
        container: StepRun,
        members: Sequence[StepRun],
        payload: dict[str, Any],
        *,
        event: StepEvent = StepEvent.EXPANDED,
        **fields: Any,
    ) -> None:
        """Expand a container: add its members to the run, in one event.

        A fallback is added in the same way, with the event of its step.

        :raises LockRequired: when the run is not locked
        """
        self.require_lock()
        rows = [history.STEP.born(member) for member in members]
        self.move_step(container, event, payload, rows=rows, **fields)
        for member in members:
            columns = {key: v for key, v in vars(member).items() if key != "_state"}
            self._written.born.append(columns)
            for name in _RESULT:  # read on demand, like those of other steps
                member.__dict__.pop(name, None)
            self.loaded.update(member)

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
        """Move a step run by the state table and set `fields`.

        `session` and `rows` belong to the attempt that the move begins or ends.

        :raises IllegalTransition: when the table has no such row
        """
        source = StepState(step.state)
        target = STEP_RUN.next(source, event)
        fields["state"] = str(target)
        fields["finished_at"] = self.at if target in FINAL_STEP else None
        # The service level of a list is that of all its items together.
        sla_s = self.plan_step(step).sla_s if step.item is None else None
        starts = source is StepState.PENDING and target not in FINAL_STEP
        fields |= sla.on_move(
            step,
            starts=starts,
            ends=target in FINAL_STEP,
            sla_s=sla_s,
            at=self.at,
        )
        changed = (self._set(step, fields), *rows)
        self.loaded.moved(step)
        body = {"from": str(source), "to": str(target), **(payload or {})}
        kind = f"step.{event}"
        fact = self.record_of(step, kind, body, session=session, rows=changed)
        if target is StepState.SUCCEEDED:
            self._completed[id(fact)] = step
        if event is StepEvent.RELEASED:
            self._released[step.id] = fact
        elif event is StepEvent.STARTED and step.id in self._released:
            released = self._released.pop(step.id)
            self.facts.remove(released)
            self.facts[-1] = store.merged(released, self.facts[-1])
        if "breached_at" in fields:
            self._record_breach(step, sla_s)

    def _set(self, row: StepRun | Run, fields: Record) -> RowFact:
        """Set columns of a row; return them for the event."""
        if isinstance(row, Run):
            self._set_run(fields)
            return history.RUN.changed(row, fields)
        self._set_step(row, fields)
        return history.STEP.changed(row, fields)

    def _record_about(
        self, row: StepRun | Run, event: str, payload: dict[str, Any], *rows: RowFact
    ) -> None:
        if isinstance(row, Run):
            self.record(f"run.{event}", payload, rows=rows)
        else:
            self.record_of(row, f"step.{event}", payload, rows=rows)

    def _set_step(self, step: StepRun, fields: Record) -> None:
        written = self._written.steps.get(step.id)
        if written is None:
            self._before.append((step, dict(step.__dict__)))
            written = {"was": step.state, "held": step.fence}
            self._written.steps[step.id] = written
        written |= fields
        step.__dict__.update(fields)

    def admit(self, row: StepRun | Run, payload: dict[str, Any], **fields: Any) -> None:
        """Record that a step, or the run itself, has its place at once."""
        changed = self._set(row, {**fields, "admitted_at": self.at})
        self._record_about(row, "admitted", payload, changed)

    def move_run(
        self,
        event: RunEvent,
        reason: str = "",
        payload: dict[str, Any] | None = None,
        **fields: Any,
    ) -> None:
        """Move the run by the state table and set `fields`.

        :raises IllegalTransition: when the table has no such row
        """
        source = RunState(self.run.state)
        target = RUN.next(source, event)
        fields["state"] = str(target)
        fields["reason"] = reason
        fields["finished_at"] = self.at if target in FINAL_RUN else None
        sla_s = self.loaded.document.sla_s
        fields |= sla.on_move(
            self.run,
            starts=target is RunState.RUNNING,
            ends=target in FINAL_RUN,
            sla_s=sla_s,
            at=self.at,
        )
        changed = self._set(self.run, fields)
        fact = {"from": str(source), "to": str(target), **(payload or {})}
        if reason:
            fact["reason"] = reason
        self.record(f"run.{event}", fact, rows=[changed])
        if "breached_at" in fields:
            self._record_breach(self.run, sla_s)

    def breach(self, row: StepRun | Run) -> None:
        """Record that a step, or the run itself, has not ended in time."""
        promised = self.loaded.document if isinstance(row, Run) else self.plan_step(row)
        changed = self._set(row, {"breached_at": self.at})
        self._record_breach(row, promised.sla_s, changed)

    def _record_breach(
        self, row: StepRun | Run, sla_s: float | None, *rows: RowFact
    ) -> None:
        fact = sla.fact(row, sla_s=sla_s, at=self.at) | {"state": str(row.state)}
        self._record_about(row, "sla_breached", fact, *rows)

    def bind_gate(self, gate_id: UUID) -> None:
        self._set_run({"gate_id": gate_id})

    def _set_run(self, fields: Record) -> None:
        if not self._written.run:
            self._before.append((self.run, dict(self.run.__dict__)))
            self._written.run = {"was": self.run.state}
        self._written.run |= fields
        self.run.__dict__.update(fields)

    def store_spec(self, digest: str, body: bytes) -> None:
        """Store the canonical bytes of an action, if they are new."""
        self.spec_bytes += len(body)
        self._written.specs.append({"digest": digest, "body": body.decode()})

    def begin_attempt(self, step: StepRun, fence: int, attempt: Record) -> RowFact:
        """Add an attempt; return its columns for the event."""
        key = {"step_run_id": step.id, "fence": fence}
        self._written.attempts.append(attempt | key)
        return history.ATTEMPT.inserted(f"{step.id}:{fence}", attempt)

    def end_attempt(
        self, step: StepRun, event: AttemptEvent, result: Any = None, *, log: str = ""
    ) -> RowFact:
        """End the live attempt of a step; return its columns for the event.

        `log` is the length and digest of its log, which is not a column of the row.
        """
        phase = str(ATTEMPT.next(Phase.INTENT, event))
        ended = {"phase": phase, "ended_at": self.at, "result": result}
        name = {"step_run_id": step.id, "fence": step.fence}
        self._written.ended.append(name | ended)
        fact = history.ATTEMPT.set(f"{step.id}:{step.fence}", ended)
        if log:
            fact.columns["log"] = log
        return fact

    def hint(self, step: StepRun) -> None:
        """Hint workers at a step that was ready before this change."""
        self._set_step(step, {"hinted_at": self.at})

    def close(self) -> bool:
        """Write everything; return False if the run has changed since.

        :raises StaleTransition: when a locked run has changed since
        """
        if not self.facts:
            return True
        hinted = self._number()
        chains = versions.pending(self.loaded, self.returned)
        with transaction.atomic() if chains else nullcontext():
            if not self._commit():
                return False
            if chains:
                chains.write(by=self.by, at=self.at)
        notify = live.run_changed if self.is_locked else live.committed
        notify(self.run.id, gates=any(f.kind.startswith("gate.") for f in self.facts))
        dispatch.hint(hinted)
        alerts.after_commit(self.run.id, self.facts)
        return True

    def _commit(self) -> bool:
        committed = store.commit(
            self.run,
            self.facts,
            self._written,
            end=self.loaded.end,
            versions=None if self.is_locked else self.loaded.versions,
            by=self.by,
            at=self.at,
        )
        if committed is None:
            return False
        self.loaded.end, self.run.version = committed
        for step_run_id in self._written.steps:
            for name in _RESULT:
                self.steps[step_run_id].__dict__.pop(name, None)
        return True

    def _number(self) -> list[UUID]:
        """Set the last event of each row; return the steps to hint at."""
        last = self.loaded.end.seq + len(self.facts)
        for place, fact in enumerate(self.facts, self.loaded.end.seq + 1):
            if step := self._completed.get(id(fact)):
                self._set_step(step, {"completed_seq": place})
                fact.rows[0].columns["completed_seq"] = place
        # A worker that claims one continues with the others; the keeper hints again for
        # more workers than this.
        ready = self.loaded.progress.startable(HINTS_AT_ONCE)
        running = self.run.state == RunState.RUNNING
        hinted = [pk for pk in ready if pk in self._written.steps] if running else []
        for pk in hinted:
            self.hint(self.steps[pk])
        for columns in self._written.steps.values():
            columns["seq"] = last
        if self._written.run:
            self._written.run["seq"] = last
        return hinted

    def undo(self) -> None:
        """Restore the cached run as it was before this change."""
        for row, before in self._before:
            row.__dict__.clear()
            row.__dict__.update(before)
            if isinstance(row, StepRun):
                self.loaded.moved(row)
