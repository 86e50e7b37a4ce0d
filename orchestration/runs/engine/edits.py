"""Begin an edit of a paused run, and end it: with another revision, or as it was.

While the edit waits for its approval, the run has the new revision and a gate on it, and
remembers the gate before. Nothing is dispatched in that state.
"""

from dataclasses import asdict
from typing import Any

from approvals.domain.states import GateStatus
from orchestration.plans import history as plan_history
from orchestration.plans import selectors as plans
from orchestration.plans.models import PlanRevision
from orchestration.runs.domain import guided
from orchestration.runs.domain.decider import TryAgain
from orchestration.runs.domain.guided import StepAct
from orchestration.runs.domain.states import RunEvent
from orchestration.runs.engine import checks, failures, specs
from orchestration.runs.engine.advance import carry_out, open_plan_gate
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.models import StepRun


def begin(change: RunChange, step: StepRun, revision: PlanRevision) -> None:
    """Ask for the approval of a stored revision in which the parameters of a step differ.

    The errors are those of `specs.build`: its references must have values, and its
    parameters must satisfy the action.
    """
    run, before = change.run, change.run.revision
    _use(change, revision)
    specs.build(change, step)
    fact = {
        "step": step.key,
        "changes": [asdict(each) for each in plans.edited_values(revision)],
        "edit_reason": revision.edit_reason,
        "from_digest": before.digest,
        "digest": revision.digest,
    }
    change.move_run(
        RunEvent.EDITED,
        run.reason,  # still the failure: an edit that is not approved leaves it
        fact,
        rows=[plan_history.REVISION.born(revision)],
        revision_id=revision.pk,
        gate_before=run.gate_id,
    )
    open_plan_gate(change)


def settle(change: RunChange, status: GateStatus) -> None:
    """End an edit whose gate has ended: retry the step, or leave the run as it was."""
    if status is GateStatus.APPROVED:
        _accept(change)
        return
    fact = {"step": change.run.revision.edited_step, "approval": str(status)}
    change.move_run(RunEvent.EDIT_DROPPED, change.run.reason, fact, **revert(change))


def revert(change: RunChange) -> dict[str, Any]:
    """Return the columns of a run without the edit that waits for its approval."""
    run, parent = change.run, change.run.revision.parent
    if run.gate_before is None or parent is None:
        return {}
    _use(change, parent)
    return {
        "revision_id": parent.pk,
        "gate_id": run.gate_before,
        "gate_before": None,
    }


def _use(change: RunChange, revision: PlanRevision) -> None:
    """Go on with a revision whose steps differ in their parameters only."""
    change.run.revision = revision
    for name in ("document", "plan_digest"):
        change.loaded.__dict__.pop(name, None)


def _accept(change: RunChange) -> None:
    """Let the run go on with the edited revision, and retry the step.

    Only the approval of the plan before is void: other steps are what was approved.
    """
    run, loaded = change.run, change.loaded
    step = next(
        each
        for each in change.steps.values()
        if each.parent_id is None and each.key == run.revision.edited_step
    )
    follow = guided.following(StepAct.RETRY, loaded.status(step), loaded.progress)
    checks.supersede(
        change, run.gate_before, loaded.plan_digest, "The plan was edited."
    )
    change.move_run(RunEvent.APPROVED, gate_before=None)
    why = {"reason": run.revision.edit_reason, "asked_for": step.key, "edited": True}
    for action in follow:
        if isinstance(action, TryAgain):
            failures.try_again(change.step(action.key), change, why)
        else:
            carry_out([action], change)
