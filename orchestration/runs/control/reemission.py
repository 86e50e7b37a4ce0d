"""Re-emit the work of a failure record: retry its step, or run its run again."""

from datetime import datetime

from execfabric.lib.actor import Actor
from orchestration.plans.domain.fallbacks import is_fallback
from orchestration.plans.domain.undo import is_undo
from orchestration.runs import selectors
from orchestration.runs.control import proposals, step_actions
from orchestration.runs.control.step_actions import Request
from orchestration.runs.domain.states import (
    FINAL_RUN,
    WITH_OUTPUT,
    Phase,
    RunState,
    StepState,
)
from orchestration.runs.engine import observing
from orchestration.runs.errors import FailureSettled, FailureUnknown
from orchestration.runs.models import Attempt, Run, StepRun

SETTLED = WITH_OUTPUT | {StepState.FALLING_BACK}
"""States of steps whose work is done, or is being done."""


def failure(by: Actor, attempt_id: int) -> Attempt:
    """Return a failed or lost attempt of a run that `by` may see.

    :raises FailureUnknown: when there is none
    """
    runs = selectors.visible_to(by).order_by().values("pk")
    rows = Attempt.objects.filter(
        phase__in=[Phase.FAILED, Phase.LOST], step_run__run__in=runs
    )
    found = rows.select_related("step_run__run").filter(pk=attempt_id).first()
    if found is None:
        raise FailureUnknown(failure=attempt_id)
    return found


def rerun_from(attempt: Attempt) -> str:
    """Return the step from which the run is run again; "" if the step is retried.

    :raises FailureSettled: when the work was done or tried since
    """
    step, run = attempt.step_run, attempt.step_run.run
    state = StepState(step.state)
    if state in SETTLED:
        word = state.replace("_", " ")
        raise FailureSettled(f"Cannot re-emit the work: the step is {word} now.")
    if attempt.generation != step.generation:
        raise FailureSettled
    if is_undo(step.key) or RunState(run.state) not in FINAL_RUN:
        return ""
    return _path(run, step)


def re_emit(*, failure_id: int, reason: str, by: Actor, at: datetime) -> Run:
    """Retry the failed step; if its run has ended, propose it again from that step.

    The same record proposes one run for each user, also if the request is repeated.
    The errors are those of `step_actions.retry`, or of `proposals.rerun`, and:

    :raises FailureUnknown: when the record does not exist, or `by` may not see it
    :raises FailureSettled: when the work was done or tried since
    """
    attempt = failure(by, failure_id)
    step = attempt.step_run
    if first := rerun_from(attempt):
        return proposals.rerun(
            run_id=step.run_id,
            by=by,
            at=at,
            from_step=first,
            idempotency_key=f"failure-{attempt.pk}",
        )
    request = Request(
        step_run_id=step.pk,
        reason=reason,
        by=by,
        at=at,
        generation=attempt.generation,
    )
    step_actions.retry(request)
    return selectors.get(by, step.run_id)


def _path(run: Run, step: StepRun) -> str:
    """Return the step in the plan that a step run, or a fallback of it, belongs to."""
    loaded = observing.observed(run)
    row = loaded.steps[step.pk]
    while is_fallback(row.key) and row.parent_id is not None:
        row = loaded.steps[row.parent_id]
    return loaded.path(row)
