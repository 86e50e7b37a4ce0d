"""Change runs: the only code that writes the state of runs, step runs and attempts.

A change is made in memory, each move by the state table, and written with its events in
one statement. That compares and swaps the end of the run's stream, so of two changes to
the same state one is refused. `locking` makes the changes.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import transaction

from audit.services import Fact, RowFact
from orchestration.plans.domain.conditions import NamedValues
from orchestration.plans.domain.document import StepDocument
from orchestration.plans.domain.fallbacks import is_fallback
from orchestration.plans.domain.undo import is_undo
from orchestration.runs import alerts, dispatch, history, live
from orchestration.runs.domain import failure_policy, rollback, sla
from orchestration.runs.domain.progress import NO_FALLBACK
from orchestration.runs.domain.results import ABANDONED
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
from orchestration.runs.engine import store, versions
from orchestration.runs.engine.rows import RowWrites
from orchestration.runs.engine.version_sources import Returned
from orchestration.runs.models import CONTAINERS, Run, StepRun

HINTS_AT_ONCE = 16
_RESULT = ("output", "files")


class LockRequired(Exception):
    """The change cannot be made without the run's lock."""


@dataclass
class RunChange(RowWrites):
    """One transaction on one run: its new rows and the events that explain them."""

    built: dict[UUID, Any] = field(default_factory=dict)
    """Specs built in this change, so that none is built twice."""
    subplan_inputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Inputs of the sub-plans that this change starts, by their specs' digests."""
    results: dict[tuple[UUID, str], tuple[Any, Any]] = field(default_factory=dict)
    """Checked output and files of steps, by step run and recorded digest."""
    returned: list[Returned] = field(default_factory=list)
    condition_s: float = 0.0
    condition_values: NamedValues = field(default_factory=NamedValues)
    _undone: list[UUID] = field(default_factory=list)
    """The steps that are compensated."""
    _released: dict[UUID, Fact] = field(default_factory=dict)
    _completed: dict[int, StepRun] = field(default_factory=dict)
    """The steps that succeed, by the identity of their fact."""

    def plan_step(self, step: StepRun) -> StepDocument:
        return self.loaded.planned(step)

    def pin_of(self, step: StepRun) -> dict[str, Any] | None:
        """Return the skill version or the saved plan that a step is bound to."""
        return self.loaded.pin(step) or None

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
        self._add(members)

    def begin_rollback(
        self,
        undos: Sequence[StepRun],
        reason: str,
        payload: dict[str, Any],
        kept: Mapping[UUID, dict[str, Any]] | None = None,
    ) -> None:
        """Add undo steps to the run, in the event that begins its rollback.

        `kept` are the new errors of the undo steps that this rollback leaves out, by id.

        :raises LockRequired: when the run is not locked
        """
        self.require_lock()
        rows = [history.STEP.born(undo) for undo in undos]
        for key, error in (kept or {}).items():
            rows.append(self._set(self.step(key), {"error": error}))
        self.move_run(RunEvent.ROLLBACK_STARTED, reason, payload, rows=rows)
        self._add(undos)
        self.loaded.index_undos()

    def _add(self, members: Sequence[StepRun]) -> None:
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
        sla_s = self.plan_step(step).sla_s if step.item is None else None
        fields["state"] = str(target)
        fields |= self._times(step, source, target, sla_s)
        changed = (self._set(step, fields), *rows, *self._failure(step, target))
        self.loaded.moved(step)
        body = {**(payload or {}), "from": str(source), "to": str(target)}
        kind = f"step.{event}"
        fact = self.record_of(step, kind, body, session=session, rows=changed)
        if target is StepState.SUCCEEDED:
            self._completed[id(fact)] = step
        if target is StepState.COMPENSATED:
            self._undone.append(step.id)
        if event is StepEvent.RELEASED:
            self._released[step.id] = fact
        elif event is StepEvent.STARTED and step.id in self._released:
            released = self._released.pop(step.id)
            self.facts.remove(released)
            self.facts[-1] = store.merged(released, self.facts[-1])
        if "breached_at" in fields:
            self._record_breach(step, sla_s)
        if is_undo(step.key):
            self._end_undo(step, target)

    def _times(
        self, step: StepRun, source: StepState, target: StepState, sla_s: float | None
    ) -> dict[str, Any]:
        """Return the columns with the times that a move begins or ends.

        The service level of a list is that of all its items together.
        """
        ends = target in FINAL_STEP and source not in FINAL_STEP
        starts = source is StepState.PENDING and target not in FINAL_STEP
        fields: dict[str, Any] = {}
        if source is StepState.INDETERMINATE:
            fields["probe_at"] = None
        if ends or target not in FINAL_STEP:
            fields["finished_at"] = self.at if ends else None
        return fields | sla.on_move(
            step, starts=starts, ends=ends, sla_s=sla_s, at=self.at
        )

    def _failure(self, step: StepRun, state: StepState) -> list[RowFact]:
        """Count a failure of a step of the plan that counts for its rollback.

        That of an item or a fallback counts when its step fails because of it.
        """
        planned = self.plan_step(step)
        code = (step.error or {}).get("code")
        falls_back = planned.fallback is not None and code not in NO_FALLBACK
        is_own = step.parent_id is None and not (
            falls_back and step.kind not in CONTAINERS
        )
        # A user who abandons a step decides what follows.
        if state is not StepState.FAILED or not is_own or code == ABANDONED:
            return []
        if not failure_policy.counts(planned.on_error or ""):
            return []
        return [self._set(self.run, {"failures": self.run.failures + 1})]

    def _end_undo(self, undo: StepRun, state: StepState) -> None:
        """Move the step that an undo step undoes, and the step whose fallback that is."""
        event = rollback.OF_OWNER.get(state)
        owner = self.loaded.owner(undo)
        while event and STEP_RUN.allows(StepState(owner.state), event):
            self.move_step(owner, event, {"undo": undo.key})
            if not is_fallback(owner.key):
                break
            owner = self.loaded.owner(owner)

    def _record_about(
        self, row: StepRun | Run, event: str, payload: dict[str, Any], *rows: RowFact
    ) -> None:
        if isinstance(row, Run):
            self.record(f"run.{event}", payload, rows=rows)
        else:
            self.record_of(row, f"step.{event}", payload, rows=rows)

    def admit(self, row: StepRun | Run, payload: dict[str, Any], **fields: Any) -> None:
        """Record that a step, or the run itself, has its place at once."""
        changed = self._set(row, {**fields, "admitted_at": self.at})
        self._record_about(row, "admitted", payload, changed)

    def note_probe(
        self,
        step: StepRun,
        event: str,
        payload: dict[str, Any],
        *,
        session: str,
        **fields: Any,
    ) -> None:
        """Record what a probe does about a step whose outcome stays unknown."""
        changed = self._set(step, fields)
        self.loaded.moved(step)
        self.record_of(step, f"step.{event}", payload, session=session, rows=[changed])

    def move_run(
        self,
        event: RunEvent,
        reason: str = "",
        payload: dict[str, Any] | None = None,
        *,
        rows: Iterable[RowFact] = (),
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
        # A rollback is not part of what has to end in time.
        ends = target in FINAL_RUN or target is RunState.ROLLING_BACK
        fields |= sla.on_move(
            self.run,
            starts=target is RunState.RUNNING,
            ends=ends and source not in FINAL_RUN | {RunState.ROLLING_BACK},
            sla_s=sla_s,
            at=self.at,
        )
        changed = self._set(self.run, fields)
        fact = {**(payload or {}), "from": str(source), "to": str(target)}
        if reason:
            fact["reason"] = reason
        self.record(f"run.{event}", fact, rows=[changed, *rows])
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
        chains = versions.pending(self.loaded, self.returned, self._undone)
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
        active = self.loaded.active
        ready = active.startable(HINTS_AT_ONCE) if active else []
        hinted = [pk for pk in ready if pk in self._written.steps]
        for pk in hinted:
            self.hint(self.steps[pk])
        for columns in self._written.steps.values():
            columns["seq"] = last
        if self._written.run:
            self._written.run["seq"] = last
        return hinted
