"""The approvals that a plan will need, as known before it runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from approvals.domain.policy import UNSAID, reason_of_risk
from orchestration.plans.domain.catalog import CatalogEntry
from orchestration.plans.domain.document import PlanDocument, StepDocument
from orchestration.skills.domain.contract import ActionContract

PolicyReasons = Callable[[StepDocument, ActionContract], list[str]]


@dataclass(frozen=True)
class PlannedGate:
    """An approval that a run of the plan will need."""

    step: str | None
    """None for the approval of the whole plan."""
    kind: str
    """`plan`, `step` or `approval`."""
    reasons: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Return the form that the API and the CLI show."""
        return {
            "step": self.step,
            "kind": self.kind,
            "reason": " ".join(self.reasons),
            "reasons": list(self.reasons),
        }


def planned_gates(
    document: PlanDocument,
    entries: Mapping[str, CatalogEntry],
    policy_reasons: PolicyReasons,
) -> list[PlannedGate]:
    """Return the gate of the plan, then those of its steps in document order."""
    gates = [PlannedGate(None, "plan", ("Nothing runs before its plan is approved.",))]
    for step in document.steps:
        reasons = _reasons(step, entries.get(step.id), policy_reasons)
        if reasons:
            kind = "approval" if step.kind == "approval" else "step"
            gates.append(PlannedGate(step.id, kind, tuple(reasons)))
    return gates


def _reasons(
    step: StepDocument, entry: CatalogEntry | None, policy_reasons: PolicyReasons
) -> list[str]:
    reasons: list[str] = []
    action = entry.contract.action(step.action) if entry else None
    if action is not None:
        of_risk = reason_of_risk(step.skill, step.action, action.risk)
        reasons = policy_reasons(step, action) or [of_risk] * bool(of_risk)
    if step.approval is not None or step.kind == "approval":
        own_reason = step.approval.reason if step.approval else ""
        reasons.append(own_reason or UNSAID)
    return reasons
