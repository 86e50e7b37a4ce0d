"""Which gates a plan will have, as far as that is known before it runs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from approvals.domain.policy import UNSAID, reason_of_risk
from orchestration.plans.domain.catalog import CatalogEntry
from orchestration.plans.domain.document import PlanDocument, StepDocument
from orchestration.skills.domain.contract import ActionContract

PolicySays = Callable[[StepDocument, ActionContract], list[str]]


@dataclass(frozen=True)
class PlannedGate:
    """A place where people will be asked."""

    step: str | None
    """None for the gate of the whole plan."""
    kind: str
    """`plan`, `step` or `approval`."""
    reasons: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The form that the API and the CLI give."""
        return {
            "step": self.step,
            "kind": self.kind,
            "reason": " ".join(self.reasons),
            "reasons": list(self.reasons),
        }


def planned_gates(
    document: PlanDocument,
    entries: Mapping[str, CatalogEntry],
    policy_says: PolicySays,
) -> list[PlannedGate]:
    """The plan's own gate, then those of its steps in document order."""
    whole = PlannedGate(None, "plan", ("Nothing runs before its plan is approved.",))
    found = [whole]
    for step in document.steps:
        reasons = _reasons(step, entries.get(step.id), policy_says)
        if reasons:
            kind = "approval" if step.kind == "approval" else "step"
            found.append(PlannedGate(step.id, kind, tuple(reasons)))
    return found


def _reasons(
    step: StepDocument, entry: CatalogEntry | None, policy_says: PolicySays
) -> list[str]:
    reasons: list[str] = []
    action = entry.contract.action(step.action) if entry else None
    if action is not None:
        reasons += policy_says(step, action)
        if not reasons:
            reasons += filter(
                None, [reason_of_risk(step.skill, step.action, action.risk)]
            )
    if step.approval is not None or step.kind == "approval":
        asked = step.approval.reason if step.approval else ""
        reasons.append(asked or UNSAID)
    return reasons
