"""Change runs: the only code that writes the state of runs, step runs and attempts.

A change is made in memory, each move by the state table, and written with its events in
one statement. That compares and swaps the end of the run's stream, so of two changes to
the same state one is refused. `locked_change` locks and reads the run first;
`optimistic_change` starts from a worker's cached copy, without a lock.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from audit.services import Fact, RowFact
from execfabric.infra import database
from execfabric.lib.actor import Actor
from execfabric.lib.machine import StaleTransition
from orchestration.plans.domain.document import StepDocument
from orchestration.runs import dispatch, history, live
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
from orchestration.runs.engine import store
from orchestration.runs.engine.loading import (
    LoadedRun,
    RunCache,
    error_code,
    load,
    refresh,
)
from orchestration.runs.engine.store import PendingWrites, Record
from orchestration.runs.errors import RunUnknown, StepUnknown
from orchestration.runs.models import Run, StepRun

HINTS_AT_ONCE = 16
TRIES = 3
"""Optimistic tries: other workers may change the same run."""
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
    results: dict[UUID, tuple[Any, Any]] = field(default_factory=dict)
    """Output and files of steps that others refer to, by step run."""
    _steps: dict[UUID, Record] = field(default_factory=dict)
    _run: Record = field(default_factory=dict)
    _written: PendingWrites = field(default_factory=PendingWrites)
    _released: dict[UUID, Fact] = field(default_factory=dict)
    _completed: dict[int, StepRun] = field(default_factory=dict)
    """The steps that succeed, by the identity of their fact."""
    _before: list[tuple[StepRun | Run, Record]] = field(default_factory=list)
    """The rows before this change, to restore the cached run."""

    @property
    def run(self) -> Run:
        """Return the run."""
        return self.loaded.run

    @property
    def steps(self) -> dict[UUID, StepRun]:
        """Return the step runs by id, in plan order."""
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
        """Return the definition of a step in the plan."""
        return self.loaded.document.step(step.key)

    def require_lock(self) -> None:
        """Continue only under the run's lock.

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
        session: str = "",
        rows: Iterable[RowFact] = (),
    ) -> Fact:
        """Add an event to this change.

        `session` is the id of the attempt that it belongs to; `rows` are the columns that
        it explains.
        """
        component = f"step:{step}" if step else f"run:{self.loaded.document.id}"
        fact = Fact(kind, payload, step, session, component, tuple(rows))
        self.facts.append(fact)
        return fact

    def add_step(self, step: StepRun) -> None:
        """Add an instance of a plan step to a running run.

        :raises LockRequired: when the run is not locked
        """
        self.require_lock()
        self._written.born.append(_columns(step))
        self.loaded.update(step)
        rows = [history.STEP.born(step)]
        self.record("step.added", step.instance(), step=step.key, rows=rows)

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
        self._set_step(step, fields)
        self.loaded.progress.moved(step.id, target, error_code(step))
        body = {"from": str(source), "to": str(target), **(payload or {})}
        changed = (history.STEP.changed(step, fields), *rows)
        fact = self.record(
            f"step.{event}", body, step=step.key, session=session, rows=changed
        )
        if target is StepState.SUCCEEDED:
            self._completed[id(fact)] = step
        if event is StepEvent.RELEASED:
            self._released[step.id] = fact
        elif event is StepEvent.STARTED and step.id in self._released:
            self._merge(self._released.pop(step.id))

    def _merge(self, released: Fact) -> None:
        """Replace the events "released" and "started" of a step by one."""
        self.facts.remove(released)
        started = self.facts[-1]
        source = {"from": released.payload["from"]}
        self.facts[-1] = replace(
            started, payload=released.payload | started.payload | source
        )
        columns = started.rows[0].columns
        columns.update(released.rows[0].columns | columns)

    def _set_step(self, step: StepRun, fields: Record) -> None:
        written = self._steps.get(step.id)
        if written is None:
            self._before.append((step, dict(step.__dict__)))
            self._steps[step.id] = written = {"was": step.state, "held": step.fence}
        written |= fields
        step.__dict__.update(fields)

    def move_run(self, event: RunEvent, reason: str = "", **fields: Any) -> None:
        """Move the run by the state table.

        :raises IllegalTransition: when the table has no such row
        """
        source = RunState(self.run.state)
        target = RUN.next(source, event)
        fields["state"] = str(target)
        fields["reason"] = reason
        fields["finished_at"] = self.at if target in FINAL_RUN else None
        self._set_run(fields)
        fact = {"from": str(source), "to": str(target)}
        if reason:
            fact["reason"] = reason
        self.record(f"run.{event}", fact, rows=[history.RUN.changed(self.run, fields)])

    def bind_gate(self, gate_id: UUID) -> None:
        """Set the run's plan gate."""
        self._set_run({"gate_id": gate_id})

    def _set_run(self, fields: Record) -> None:
        if not self._run:
            self._before.append((self.run, dict(self.run.__dict__)))
            self._run = {"was": self.run.state}
        self._run |= fields
        self.run.__dict__.update(fields)

    def store_spec(self, digest: str, body: bytes) -> None:
        """Store the canonical bytes of an action, if they are new."""
        self._written.specs.append({"digest": digest, "body": body.decode()})

    def begin_attempt(self, step: StepRun, fence: int, attempt: Record) -> RowFact:
        """Add an attempt; return its columns for the event."""
        key = {"step_run_id": step.id, "fence": fence}
        self._written.attempts.append(attempt | key)
        return history.attempt_begun(step, fence, attempt)

    def end_attempt(
        self, step: StepRun, event: AttemptEvent, result: Any = None, *, log: str = ""
    ) -> RowFact:
        """End the live attempt of a step; return its columns for the event."""
        phase = str(ATTEMPT.next(Phase.INTENT, event))
        ended = {"phase": phase, "ended_at": self.at, "result": result}
        name = {"step_run_id": step.id, "fence": step.fence}
        self._written.ended.append(name | ended)
        return history.attempt_ended(step, step.fence, ended, log=log)

    def hint(self, step: StepRun) -> None:
        """Hint workers at a step that was ready before this change."""
        self._set_step(step, {"hinted_at": self.at})

    def close(self) -> bool:
        """Write everything in one statement; return False if the run has changed since.

        :raises StaleTransition: when a locked run has changed since
        """
        if not self.facts:
            return True
        hinted = self._number()
        committed = store.commit(
            self.run,
            self.facts,
            self._written,
            end=self.loaded.end,
            versions=None if self.is_locked else self.loaded.versions,
            by=self.by,
            at=self.at,
        )
        if committed is None and self.is_locked:
            raise StaleTransition(run=str(self.run.id), seq=self.loaded.end.seq)
        if committed is None:
            return False
        self.loaded.end, self.run.version = committed
        for step_run_id in self._steps:
            for name in _RESULT:
                self.steps[step_run_id].__dict__.pop(name, None)
        gates = any(fact.kind.startswith("gate.") for fact in self.facts)
        notify = live.run_changed if self.is_locked else live.committed
        notify(self.run.id, gates=gates)
        dispatch.hint(hinted)
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
        hinted = [pk for pk in ready if pk in self._steps] if running else []
        for pk in hinted:
            self.hint(self.steps[pk])
        for step_run_id, columns in self._steps.items():
            self._written.steps[str(step_run_id)] = columns | {"seq": last}
        if self._run:
            self._written.run = self._run | {"seq": last}
        return hinted

    def undo(self) -> None:
        """Restore the cached run as it was before this change."""
        for row, before in self._before:
            row.__dict__.clear()
            row.__dict__.update(before)
            if isinstance(row, StepRun):
                state = StepState(row.state)
                self.loaded.progress.moved(row.id, state, error_code(row))


def _columns(row: StepRun) -> Record:
    """Return all columns of a row that is not stored yet."""
    return {name: value for name, value in vars(row).items() if name != "_state"}


@contextmanager
def locked_change(run_id: UUID, *, by: Actor, at: datetime) -> Iterator[RunChange]:
    """Lock a run for one transaction, and write the change at its end.

    Durable, because no effect may follow an intent that can still be rolled back. The
    lock order everywhere is the end of the stream, the run, a gate.

    :raises RunUnknown: when the run does not exist
    """
    database.leave_transaction()
    with transaction.atomic(durable=True):
        change = lock_run(run_id, by=by, at=at)
        yield change
        change.close()


def lock_run(
    run_id: UUID, *, by: Actor, at: datetime, cached: LoadedRun | None = None
) -> RunChange:
    """Lock and load a run for a change that the caller closes in its transaction."""
    loaded = load(run_id, cached)
    if loaded is None:
        raise RunUnknown(run=str(run_id))
    return RunChange(loaded=loaded, by=by, at=at)


def optimistic_change(
    run_id: UUID,
    act: Callable[[RunChange], Any],
    *,
    by: Actor,
    at: datetime,
    cache: RunCache,
) -> Any:
    """Change a run from a worker's cached copy, without a lock if that is possible.

    `act` is called again if the run has changed since, and under the lock if it requires
    that, so it must have no effect except on its change. After an exception, or if the
    answer to a commit is lost, the run is no longer cached.

    :raises RunUnknown: when the run does not exist
    """
    database.leave_transaction()
    cached = cache.pop(run_id)
    if cached is not None and not connection.in_atomic_block:
        done, result = _try_without_lock(cached, act, by=by, at=at, cache=cache)
        if done:
            return result
    with transaction.atomic(durable=True):
        change = lock_run(run_id, by=by, at=at, cached=cached)
        result = act(change)
        change.close()
    cache.put(change.loaded)
    return result


def _try_without_lock(
    cached: LoadedRun,
    act: Callable[[RunChange], Any],
    *,
    by: Actor,
    at: datetime,
    cache: RunCache,
) -> tuple[bool, Any]:
    """Return True if the change was written, and the result of `act`."""
    for left in reversed(range(TRIES)):
        change = RunChange(loaded=cached, by=by, at=at, is_locked=False)
        try:
            result = act(change)
            if change.close():
                cache.put(cached)
                cache.taken += 1
                return True, result
        except LockRequired:
            change.undo()
            break
        change.undo()
        cache.refused += 1
        if not (left and refresh(cached, lock=False)):
            break
    return False, None
