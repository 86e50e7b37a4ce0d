"""Collect the rows that a change of one run writes, and what was before."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from audit.services import Fact, RowFact
from execfabric.lib.actor import Actor
from orchestration.runs import history
from orchestration.runs.domain.states import ATTEMPT, AttemptEvent, Phase
from orchestration.runs.engine.loading import LoadedRun
from orchestration.runs.engine.store import PendingWrites, Record
from orchestration.runs.errors import StepUnknown
from orchestration.runs.models import Run, StepRun


@dataclass
class RowWrites:
    """The new columns of a run, its steps and their attempts, in memory."""

    loaded: LoadedRun
    by: Actor
    at: datetime
    is_locked: bool = True
    """False for an optimistic change of a cached run."""
    facts: list[Fact] = field(default_factory=list)
    spec_bytes: int = 0
    """The bytes of the specs that it stores."""
    _written: PendingWrites = field(default_factory=PendingWrites)
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

    def _set(self, row: StepRun | Run, fields: Record) -> RowFact:
        """Set columns of a row; return them for the event."""
        if isinstance(row, Run):
            self._set_run(fields)
            return history.RUN.changed(row, fields)
        self._set_step(row, fields)
        return history.STEP.changed(row, fields)

    def _set_step(self, step: StepRun, fields: Record) -> None:
        written = self._written.steps.get(step.id)
        if written is None:
            self._before.append((step, dict(step.__dict__)))
            written = {"was": step.state, "held": step.fence}
            self._written.steps[step.id] = written
        written |= fields
        step.__dict__.update(fields)

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

    def undo(self) -> None:
        """Restore the cached run as it was before this change."""
        for row, before in self._before:
            row.__dict__.clear()
            row.__dict__.update(before)
            if isinstance(row, StepRun):
                self.loaded.moved(row)
