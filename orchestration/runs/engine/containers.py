"""Which step runs are containers, and how their members decide their state."""

from typing import Any

from orchestration.plans.domain.document import PlanDocument, StepDocument
from orchestration.plans.domain.joins import AtLeast
from orchestration.plans.domain.subplans import MAX_STEP_RUNS
from orchestration.runs.domain.members import Group
from orchestration.runs.errors import StepsTooMany
from orchestration.runs.models import CONTAINERS, FOR_EACH, StepRun
from orchestration.skills.domain.contract import ActionContract


def columns_of(planned: StepDocument, action: ActionContract | None) -> dict[str, Any]:
    """Return the columns of a new step run that its plan and its action decide."""
    rule = planned.retry or (action.retry if action else None)
    return {
        "kind": planned.kind if planned.for_each is None else FOR_EACH,
        "effect_class": str(action.effect_class) if action else "pure",
        "max_attempts": rule.attempts if rule else 1,
    }


def require_room(step: StepRun, total: int) -> None:
    """Check the number of step runs that a run has after a step is expanded.

    :raises StepsTooMany: when there would be too many
    """
    if total > MAX_STEP_RUNS:
        raise StepsTooMany(
            f"Cannot start step '{step.label}': the run would have more than"
            f" {MAX_STEP_RUNS:,} steps. Divide the work among several runs.",
            limit=MAX_STEP_RUNS,
        )


def group_of(
    step: StepRun, planned: StepDocument, inside: PlanDocument | None
) -> Group | None:
    """Return how members decide the state of a container; None for any other step.

    `inside` is the sub-plan of a plan step.
    """
    if step.kind not in CONTAINERS:
        return None
    if inside is not None:
        return Group(stop=inside.on_failure != "continue", is_plan=True)
    join = planned.join
    counted = isinstance(join, AtLeast)
    return Group(
        join="at_least" if counted else str(join),
        at_least=join.at_least if isinstance(join, AtLeast) else 0,
        stop=planned.on_item_error == "stop",
        max=planned.at_once or 0,
    )
