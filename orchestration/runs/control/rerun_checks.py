"""Refuse a rerun that could repeat an effect whose outcome is unknown."""

from orchestration.runs.control.recovery import require_dead
from orchestration.runs.domain.outcome import may_rerun
from orchestration.runs.domain.states import Phase, StepState
from orchestration.runs.engine import unknown
from orchestration.runs.engine.ends import listed
from orchestration.runs.errors import RerunOutcomeUnknown, RerunStepUnresolved
from orchestration.runs.models import Attempt, Run


def require_repeatable(original: Run, first: str) -> None:
    """Check what the steps of a run, and of those that it repeats, have left open.

    `first` is the path of the first step of the rerun; empty for all steps.

    :raises RerunStepUnresolved: when the outcome of a step is unknown
    :raises OldAttemptMayLive: when the lost worker of a step may still be running
    :raises RerunOutcomeUnknown: when the effect of a step may have happened, and the step
        is neither the first one nor after it
    """
    for run in unknown.chain(original):
        _require_ended(run)
    paths = unknown.not_chosen(original, first, unknown.paths_of(original))
    if paths:
        message = (
            f"Cannot run it again from here: the effect of {listed(paths)} may have"
            " happened, and would be repeated. Choose that step as the first one, or"
            " propose a plan without it."
        )
        raise RerunOutcomeUnknown(message, steps=paths)


def _require_ended(run: Run) -> None:
    """Check that no earlier attempt of a step can still have its effect."""
    steps = list(unknown.placed(run))
    found = [place for place, step in steps if step.state == StepState.INDETERMINATE]
    if open_ := [*dict.fromkeys(map(unknown.path_of, found))]:
        message = (
            f"Cannot run it again: the outcome of {listed(open_)} is unknown."
            f" Resolve it in run {run.pk} first."
        )
        raise RerunStepUnresolved(message, run=str(run.pk), steps=open_)
    lost = Attempt.objects.filter(step_run__run=run, phase=Phase.LOST)
    ids = set(lost.values_list("step_run_id", flat=True))
    for place, step in steps:
        if step.pk in ids and not may_rerun(step.effect_class):
            path = unknown.path_of(place)
            require_dead(
                step,
                f"Cannot run it again: the lost worker of {path} may still be running.",
            )
