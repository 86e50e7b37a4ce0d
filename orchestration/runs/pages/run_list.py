"""The state of a run in lists: `gated` if the run only waits."""

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

from orchestration.runs.domain.states import RunState, StepState
from orchestration.runs.models import Run, StepRun

WAITING = (str(RunState.AWAITING_APPROVAL), str(StepState.GATED))
"""Shown states of runs that wait for an approval, of the plan or of a step."""
MOVING = (StepState.READY, StepState.RUNNING)
"""States of steps by which a run does more than wait."""


def with_shown_state(runs: QuerySet[Run]) -> QuerySet[Any]:
    """Annotate `shown_state`: the state, or `gated` if the run only waits."""
    steps = StepRun.objects.filter(run=OuterRef("pk"))
    only_waits = (
        Q(state=RunState.RUNNING)
        & Exists(steps.filter(state=StepState.GATED))
        & ~Exists(steps.filter(state__in=MOVING))
    )
    return runs.annotate(
        shown_state=Case(
            When(only_waits, then=Value(str(StepState.GATED))),
            default=F("state"),
            output_field=CharField(),
        )
    )
