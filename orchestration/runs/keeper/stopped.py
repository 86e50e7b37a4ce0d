"""What the keeper does about stops of the dispatch."""

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from django.db.models import Max

from orchestration.runs.control.control import request_cancel
from orchestration.runs.control.stops import covers
from orchestration.runs.domain.states import RUN, RunEvent, RunState, StepState
from orchestration.runs.engine.quarantine import Quarantine
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.models import StepRun, Stop

_ACTIVE = Stop.objects.filter(lifted_at__isnull=True)
_RUNNING = StepRun.objects.filter(state=StepState.RUNNING)


def all_are_stopped() -> bool:
    return _ACTIVE.filter(skill="").exists()


def last_lift(after: datetime, until: datetime) -> datetime | None:
    """Return when the last stop of this period was lifted, if any."""
    lifted = Stop.objects.filter(lifted_at__gt=after, lifted_at__lte=until)
    last: datetime | None = lifted.aggregate(last=Max("lifted_at"))["last"]
    return last


def to_cancel(quarantine: Quarantine) -> Iterator[tuple[UUID, Stop]]:
    """Yield the runs with a running step that a stop with cancellation covers."""
    for stop in _ACTIVE.filter(cancels=True):
        running = _RUNNING.exclude(run__state=RunState.CANCELLING)
        running = running.exclude(run_id__in=quarantine.held).select_related("spec")
        runs = {step.run_id: stop for step in running if covers(stop, step)}
        yield from runs.items()


def cancelled(change: RunChange, stop: Stop) -> bool:
    """Cancel a run, unless it has changed since it was found."""
    state = RunState(change.run.state)
    running = _RUNNING.filter(run=change.run).select_related("spec")
    if not RUN.allows(state, RunEvent.CANCEL_REQUESTED):
        return False
    if not any(covers(stop, step) for step in running):
        return False
    request_cancel(change, f"Stopped by {stop.set_by_name}: {stop.reason}")
    return True
