"""The only code that writes a run's, a step run's or an attempt's state.

A change is made in memory, each move by the table, and written in one statement together
with its events. The statement swaps the end of the run's stream, so of two changes on
the same state one is refused. `change` reads the run under its lock first; `in_turn`
goes without the lock where a worker remembers the run.
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
    Loaded,
    Memory,
    brought_up_to_date,
    error_code,
    load,
)
from orchestration.runs.engine.store import Record, Written
from orchestration.runs.errors import RunUnknown, StepUnknown
from orchestration.runs.models import Run, StepRun

HINTS_AT_ONCE = 16
TRIES = 3
"""How often a change is tried without the lock: others may work on the same run."""
_RESULT = ("output", "files")


class NeedsLock(Exception):
    """This cannot be done on what is remembered of a run."""


@dataclass
class Change:
    """One transaction on one run: its rows as they will be, and what happened."""

    loaded: Loaded
    by: Actor
    at: datetime
    is_locked: bool = True
    """Whether the run was read under its lock; else it is as a worker remembers it."""
    facts: list[Fact] = field(default_factory=list)
    built: dict[UUID, Any] = field(default_factory=dict)
    """Specs built in this change, so that they need not be built twice."""
    results: dict[UUID, tuple[Any, Any]] = field(default_factory=dict)
    """Output and files of steps that were referred to."""
    _steps: dict[UUID, Record] = field(default_factory=dict)
    _run: Record = field(default_factory=dict)
    _written: Written = field(default_factory=Written)
    _released: dict[UUID, Fact] = field(default_factory=dict)
    _completed: dict[int, StepRun] = field(default_factory=dict)
    """The steps that succeed, by the identity of the fact that says so."""
    _before: list[tuple[StepRun | Run, Record]] = field(default_factory=list)
    """What rows were before this change, to restore what is remembered of them."""

    @property
    def run(self) -> Run:
        """The run."""
        return self.loaded.run

    @property
    def steps(self) -> dict[UUID, StepRun]:
        """Its step runs by id, in the order of the plan."""
        return self.loaded.steps

    def step(self, step_run_id: UUID) -> StepRun:
        """The step run of that id.

        :raises StepUnknown: when the run has none
        """
        try:
            return self.steps[step_run_id]
        except KeyError:
            raise StepUnknown(step_run=str(step_run_id)) from None

    def plan_step(self, step: StepRun) -> StepDocument:
        """What the plan says of a step."""
        return self.loaded.document.step(step.key)

    def need_lock(self) -> None:
        """Go on only if nothing but this change can move the run now.

        :raises NeedsLock: when the run is not locked
        """
        if not self.is_locked:
            raise NeedsLock

    def record(
        self,
        kind: str,
        payload: dict[str, Any],
        *,
        step: str = "",
        session: str = "",
        rows: Iterable[RowFact] = (),
    ) -> Fact:
        """Add a fact to this change's events.

        `session` is that of an attempt, where the fact belongs to one; `rows` are the
        columns that this change sets.
        """
        component = f"step:{step}" if step else f"run:{self.loaded.document.id}"
        fact = Fact(kind, payload, step, session, component, tuple(rows))
        self.facts.append(fact)
        return fact

    def add_step(self, step: StepRun) -> None:
        """Add an instance of a step of the plan while the run proceeds.

        :raises NeedsLock: when the run is not locked
        """
        self.need_lock()
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
        """Move a step run by the table; `fields` change with it.

        `session` and `rows` are those of the attempt that the move begins or ends.

        :raises IllegalTransition: when the table has no such row
        """
        source = StepState(step.state)
        target = STEP_RUN.next(source, event)
        fields["state"] = str(target)
        fields["finished_at"] = self.at if target in FINAL_STEP else None
        self._set_step(step, fields)
        self.loaded.progress.moved(step.id, target, error_code(step))
        said = {"from": str(source), "to": str(target), **(payload or {})}
        written = (history.STEP.changed(step, fields), *rows)
        fact = self.record(
            f"step.{event}", said, step=step.key, session=session, rows=written
        )
        if target is StepState.SUCCEEDED:
            self._completed[id(fact)] = step
        if event is StepEvent.RELEASED:
            self._released[step.id] = fact
        elif event is StepEvent.STARTED and step.id in self._released:
            self._merge(self._released.pop(step.id))

    def _merge(self, released: Fact) -> None:
        """Say in one event that a step was released and started."""
        self.facts.remove(released)
        started = self.facts[-1]
        kept = {"from": released.payload["from"]}
        self.facts[-1] = replace(
            started, payload=released.payload | started.payload | kept
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
        """Move the run by the table.

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
        """Make a gate the run's plan gate in force."""
        self._set_run({"gate_id": gate_id})

    def _set_run(self, fields: Record) -> None:
        if not self._run:
            self._before.append((self.run, dict(self.run.__dict__)))
            self._run = {"was": self.run.state}
        self._run |= fields
        self.run.__dict__.update(fields)

    def keep_spec(self, digest: str, body: bytes) -> None:
        """Have the bytes of an action stored, unless they are already."""
        self._written.specs.append({"digest": digest, "body": body.decode()})

    def begin_attempt(self, step: StepRun, fence: int, attempt: Record) -> RowFact:
        """Have a new attempt written; return its columns for the event that says so."""
        key = {"step_run_id": step.id, "fence": fence}
        self._written.attempts.append(attempt | key)
        return history.attempt_begun(step, fence, attempt)

    def end_attempt(
        self, step: StepRun, event: AttemptEvent, result: Any = None, *, log: str = ""
    ) -> RowFact:
        """End the live attempt of a step; return the columns for the event that says so."""
        phase = str(ATTEMPT.next(Phase.INTENT, event))
        ended = {"phase": phase, "ended_at": self.at, "result": result}
        name = {"step_run_id": step.id, "fence": step.fence}
        self._written.ended.append(name | ended)
        return history.attempt_ended(step, step.fence, ended, log=log)

    def hint(self, step: StepRun) -> None:
        """Have workers told of a step that was ready before this change."""
        self._set_step(step, {"hinted_at": self.at})

    def close(self) -> bool:
        """Write everything in one statement; return False if the run has moved on.

        Outside a transaction it is one of its own.

        :raises StaleTransition: when a locked run has moved on
        """
        if not self.facts:
            return True
        hinted = self._number()
        done = store.commit(
            self.run,
            self.facts,
            self._written,
            end=self.loaded.end,
            seen=None if self.is_locked else self.loaded.seen,
            by=self.by,
            at=self.at,
        )
        if done is None and self.is_locked:
            raise StaleTransition(run=str(self.run.id), seq=self.loaded.end.seq)
        if done is None:
            return False
        self.loaded.end, self.run.version = done
        for step_run_id in self._steps:
            for name in _RESULT:
                self.steps[step_run_id].__dict__.pop(name, None)
        gates = any(fact.kind.startswith("gate.") for fact in self.facts)
        tell = live.run_changed if self.is_locked else live.committed
        tell(self.run.id, gates=gates)
        dispatch.hint(hinted)
        return True

    def _number(self) -> list[UUID]:
        """Give each row the place of its event; return the steps to hint at."""
        last = self.loaded.end.seq + len(self.facts)
        for place, fact in enumerate(self.facts, self.loaded.end.seq + 1):
            if step := self._completed.get(id(fact)):
                self._set_step(step, {"completed_seq": place})
                fact.rows[0].columns["completed_seq"] = place
        # A worker that takes one goes on through all that are ready; for more workers
        # than this the keeper hints again.
        ready = self.loaded.progress.startable(HINTS_AT_ONCE)
        running = self.run.state == RunState.RUNNING
        hinted = [one for one in ready if one in self._steps] if running else []
        for one in hinted:
            self.hint(self.steps[one])
        for step_run_id, columns in self._steps.items():
            self._written.steps[str(step_run_id)] = columns | {"seq": last}
        if self._run:
            self._written.run = self._run | {"seq": last}
        return hinted

    def undo(self) -> None:
        """Make what is remembered of the run what it was before this change."""
        for row, before in self._before:
            row.__dict__.clear()
            row.__dict__.update(before)
            if isinstance(row, StepRun):
                state = StepState(row.state)
                self.loaded.progress.moved(row.id, state, error_code(row))


def _columns(row: StepRun) -> Record:
    """Return the columns of a row that is not stored yet."""
    return {name: value for name, value in vars(row).items() if name != "_state"}


@contextmanager
def change(run_id: UUID, *, by: Actor, at: datetime) -> Iterator[Change]:
    """Open one transaction on a run, its row locked; write all of it at the end.

    Durable, because an effect must never follow an intent that may still be
    rolled back. Lock order everywhere: the end of the stream, the run, a gate.

    :raises RunUnknown: when there is no such run
    """
    database.leave_transaction()
    with transaction.atomic(durable=True):
        opened = open_change(run_id, by=by, at=at)
        yield opened
        opened.close()


def open_change(
    run_id: UUID, *, by: Actor, at: datetime, known: Loaded | None = None
) -> Change:
    """Lock and load a run for a change that the caller closes in its transaction."""
    loaded = load(run_id, known)
    if loaded is None:
        raise RunUnknown(run=str(run_id))
    return Change(loaded=loaded, by=by, at=at)


def in_turn(
    run_id: UUID,
    act: Callable[[Change], Any],
    *,
    by: Actor,
    at: datetime,
    memory: Memory,
) -> Any:
    """Change a run that a worker remembers, without a lock where that is possible.

    `act` decides and moves; it is done again if the run has moved on, and under the lock
    if it needs that, so it must have no effect but on its change. The worker forgets the
    run after an exception, and when the answer to a commit is lost.

    :raises RunUnknown: when there is no such run
    """
    database.leave_transaction()
    known = memory.take(run_id)
    if known is not None and not connection.in_atomic_block:
        done, result = _without_lock(known, act, by=by, at=at, memory=memory)
        if done:
            return result
    with transaction.atomic(durable=True):
        opened = open_change(run_id, by=by, at=at, known=known)
        result = act(opened)
        opened.close()
    memory.keep(opened.loaded)
    return result


def _without_lock(
    known: Loaded,
    act: Callable[[Change], Any],
    *,
    by: Actor,
    at: datetime,
    memory: Memory,
) -> tuple[bool, Any]:
    """Return whether the change was written, and what `act` has returned."""
    for left in reversed(range(TRIES)):
        opened = Change(loaded=known, by=by, at=at, is_locked=False)
        try:
            result = act(opened)
            if opened.close():
                memory.keep(known)
                memory.taken += 1
                return True, result
        except NeedsLock:
            opened.undo()
            break
        opened.undo()
        memory.refused += 1
        if not (left and brought_up_to_date(known, lock=False)):
            break
    return False, None
