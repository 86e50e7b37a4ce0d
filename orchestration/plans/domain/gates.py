"""The approvals that a plan will need, as known before it runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from approvals.domain.policy import (
    DEFAULT_GROUP,
    UNSAID,
    ActionFacts,
    Demand,
    Rule,
    demands,
)
from approvals.domain.seats import Requirement
from orchestration.plans.domain import asking
from orchestration.plans.domain.document import PlanDocument, StepDocument
from orchestration.plans.domain.subplans import joined
from orchestration.plans.domain.validation import Validation
from orchestration.skills.domain.contract import ActionContract

DEFAULT_APPROVERS = (Requirement(DEFAULT_GROUP),)


@dataclass(frozen=True)
class PlannedGate:
    """An approval that a run of the plan will need."""

    step: str | None
    """None for the approval of the whole plan."""
    kind: str
    """`plan`, `step`, `approval` or `input`."""
    reasons: tuple[str, ...]

    @property
    def reason(self) -> str:
        return " ".join(self.reasons)


def planned_gates(
    document: PlanDocument, checked: Validation, rules: Sequence[Rule]
) -> list[PlannedGate]:
    gates = [PlannedGate(None, "plan", ("Nothing runs before its plan is approved.",))]
    gates += step_gates(document, checked, rules)
    return gates


def step_gates(
    document: PlanDocument, checked: Validation, rules: Sequence[Rule], around: str = ""
) -> Iterator[PlannedGate]:
    """Return the approvals of steps, with those of sub-plans by their paths."""
    for step in document.by_key.values():
        entry = checked.entries.get(step.id)
        action = entry.contract.action(step.action) if entry else None
        if reasons := demand_of(step, action, rules).reasons:
            kind = step.kind if step.kind in {"approval", "input"} else "step"
            if step.for_each is not None:
                reasons = (*reasons, "Each item of its list needs its own approval.")
            yield PlannedGate(joined(around, step.id), kind, reasons)
        inner = checked.subplans.get(step.id)
        if inner is not None:
            path = joined(around, step.id)
            yield from step_gates(inner.saved.document, inner.checked, rules, path)


def demand_of(
    step: StepDocument, action: ActionContract | None, rules: Sequence[Rule]
) -> Demand:
    """Return the approvals that policies and the plan require before a step runs."""
    if action is None:
        demand = Demand()
    else:
        facts = ActionFacts(
            skill=step.skill,
            action=action.name,
            risk=str(action.risk),
            effect_class=str(action.effect_class),
        )
        demand = demands(facts, rules)
    approval = step.approval
    if approval is not None or step.kind == "approval":
        groups = approval.groups if approval else ()
        requirements = tuple(Requirement(g.group, g.count) for g in groups)
        reason = (approval.reason if approval else "") or UNSAID
        demand = demand.also(requirements or DEFAULT_APPROVERS, reason=reason)
    if step.kind == "input":
        requirements = asking.requirements_of(step)
        reason = asking.reason_of(step)
        demand = demand.also(requirements or DEFAULT_APPROVERS, reason=reason)
    return demand
