"""What the keeper does about stops of the dispatch."""

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from django.db.models import Max, Q, QuerySet

from orchestration.runs.control.control import request_cancel
from orchestration.runs.control.stops import covers
from orchestration.runs.domain.states import RUN, RunEvent, RunState
from orchestration.runs.engine.quarantine import Quarantine
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.models import Attempt, Stop

_ACTIVE = Stop.objects.filter(lifted_at__isnull=True)
_OPEN = [state for state in RunState if RUN.allows(state, RunEvent.CANCEL_REQUESTED)]


def all_are_stopped() -> bool:
    return _ACTIVE.filter(skill="").exists()


def last_lift(after: datetime, until: datetime) -> datetime | None:
    """Return when the last stop of this period was lifted, if any."""
    lifted = Stop.objects.filter(lifted_at__gt=after, lifted_at__lte=until)
    last: datetime | None = lifted.aggregate(last=Max("lifted_at"))["last"]
    return last


def to_cancel(quarantine: Quarantine) -> Iterator[tuple[UUID, Stop]]:
    """Yield the runs whose steps a stop with cancellation has found running."""
    for stop in _ACTIVE.filter(cancels=True):
        found = _found_by(stop).exclude(step_run__run_id__in=quarantine.held)
        runs = {one.step_run.run_id: stop for one in found if covers(stop, one)}
        yield from runs.items()


def _found_by(stop: Stop) -> QuerySet[Attempt]:
    """Return the attempts of open runs that were running when an active stop was set.

    None of those that it covers began later. Steps may have ended since, before the
    keeper could look at them.
    """
    ran = Q(ended_at__isnull=True) | Q(ended_at__gt=stop.set_at)
    attempts = Attempt.objects.filter(ran, step_run__run__state__in=_OPEN)
    return attempts.select_related("spec", "step_run")


def cancelled(change: RunChange, stop: Stop) -> bool:
    """Cancel a run, unless it has changed since it was found, or the stop was lifted."""
    found = _found_by(stop).filter(step_run__run=change.run)
    if change.run.state not in _OPEN or not any(covers(stop, one) for one in found):
        return False
    if not _ACTIVE.filter(pk=stop.pk).exists():
        return False
    request_cancel(change, f"Stopped by {stop.set_by_name}: {stop.reason}")
    return True
