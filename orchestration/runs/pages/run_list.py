"""The state of a run in lists: what it waits for, if it only waits."""

from typing import Any

from django.db.models import (
    Case,
    CharField,
    Exists,
    F,
    OuterRef,
    Q,
    QuerySet,
    Value,
    When,
)

from approvals.models import INPUT
from orchestration.runs.domain.run_status import (
    FOR_PEOPLE,
    MOVING,
    ONLY_WAITS,
    WaitKind,
)
from orchestration.runs.domain.states import RunState, StepState
from orchestration.runs.models import Run, StepRun

WAITING = (str(RunState.AWAITING_APPROVAL), str(StepState.GATED))
"""Shown states of runs that wait for an approval, of the plan or of a step."""
SHOWN_AS = {
    str(RunState.AWAITING_APPROVAL): WAITING,
    str(RunState.RUNNING): (
        str(RunState.RUNNING),
        str(StepState.WAITING),
        str(StepState.BACKOFF),
    ),
}
"""The shown states that a filter by state finds, if it is not the state alone."""
_STOPPED = (RunState.PAUSING, RunState.PAUSED)


def with_shown_state(runs: QuerySet[Run]) -> QuerySet[Any]:
    """Annotate `shown_state`, which is the same as `run_status.shown_state`."""
    only_waits = Q(state=RunState.RUNNING) & ~_has(state__in=MOVING)
    return runs.annotate(
        shown_state=Case(
            *(
                When(only_waits & _has(state=state), then=Value(str(state)))
                for state in ONLY_WAITS
            ),
            default=F("state"),
            output_field=CharField(),
        )
    )


def waiting_for(kind: WaitKind) -> Q:
    """Return the condition of runs that wait for something of this kind."""
    stopped = Q(state__in=_STOPPED)
    if kind is WaitKind.RESUME:
        return stopped & ~_has(state__in=_EXPLAINS_STOP)
    if kind is WaitKind.FAILURE:
        return stopped & _has(state=StepState.FAILED)
    by_steps = Q(state=RunState.RUNNING) & _has(_STEPS[kind])
    if kind in FOR_PEOPLE | {WaitKind.PROBE}:
        by_steps |= stopped & _has(_STEPS[kind])
    return by_steps | Q(state=_RUNS[kind]) if kind in _RUNS else by_steps


_EXPLAINS_STOP = (StepState.FAILED, StepState.INDETERMINATE)
_STEPS = {
    WaitKind.OUTCOME: Q(state=StepState.INDETERMINATE, probe_at__isnull=True),
    WaitKind.PROBE: Q(probe_at__isnull=False),
    WaitKind.APPROVAL: Q(state=StepState.GATED) & ~Q(kind=INPUT),
    WaitKind.ANSWER: Q(state=StepState.GATED, kind=INPUT),
    WaitKind.EVENT: Q(state=StepState.WAITING, event_waits__isnull=False),
    WaitKind.TIME: Q(state=StepState.WAITING, event_waits__isnull=True),
    WaitKind.RETRY: Q(state=StepState.BACKOFF),
    WaitKind.PLACE: Q(state=StepState.QUEUED),
    WaitKind.WORKER: Q(state=StepState.READY),
}
_RUNS = {
    WaitKind.APPROVAL: RunState.AWAITING_APPROVAL,
    WaitKind.PLACE: RunState.QUEUED,
}


def _has(*conditions: Q, **values: Any) -> Q:
    """Return the condition of runs with a step run that meets these conditions."""
    steps = StepRun.objects.filter(*conditions, run=OuterRef("pk"), **values)
    return Q(Exists(steps))
