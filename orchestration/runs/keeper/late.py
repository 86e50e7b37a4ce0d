"""Find runs and steps that have not ended in time; each breach is recorded once."""

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from orchestration.runs.domain import sla
from orchestration.runs.domain.states import RunState
from orchestration.runs.engine.quarantine import Quarantine
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.models import Run, StepRun

BATCH = 200
Rows = Iterable[tuple[Any, ...]]
Act = Callable[..., bool]


def found(quarantine: Quarantine) -> list[tuple[Rows, Act]]:
    """Return what is late now, and what to do about it in a change of its run."""
    unknown = {"due_at__lt": quarantine.at, "breached_at": None, "finished_at": None}
    runs = Run.objects.filter(**unknown).exclude(pk__in=quarantine.held)
    runs = runs.exclude(state=RunState.ROLLING_BACK)
    steps = StepRun.objects.filter(**unknown).exclude(run_id__in=quarantine.held)
    return [
        (runs.order_by("due_at").values_list("id")[:BATCH], _run_late),
        (steps.order_by("due_at").values_list("run_id", "id")[:BATCH], _step_late),
    ]


def _run_late(change: RunChange) -> bool:
    return _is_late(change, change.run) and _breach(change, change.run)


def _step_late(change: RunChange, step_run_id: UUID) -> bool:
    step = change.step(step_run_id)
    return _is_late(change, step) and _breach(change, step)


def _is_late(change: RunChange, row: Run | StepRun) -> bool:
    """Check again under the lock: it may have ended, or be recorded."""
    return row.finished_at is None and sla.is_late(row, change.at)


def _breach(change: RunChange, row: Run | StepRun) -> bool:
    change.breach(row)
    return True
