"""The undo of every step of a plan, as known before it runs."""

from dataclasses import dataclass

from orchestration.plans.domain.document import PlanDocument
from orchestration.plans.domain.subplans import joined
from orchestration.plans.domain.undo import undo_of
from orchestration.plans.domain.validation import Validation
from orchestration.skills.domain.contract import EffectClass


@dataclass(frozen=True)
class PlannedUndo:
    """What a rollback does for a step that may have had an effect."""

    step: str
    action: str
    """Empty if the step cannot be undone."""


def planned_undos(
    document: PlanDocument, checked: Validation, around: str = ""
) -> list[PlannedUndo]:
    """Return the undo of each step with an effect, in reverse order of the steps.

    Steps of sub-plans have their paths.
    """
    undos: list[PlannedUndo] = []
    for key in reversed(document.with_fallbacks(checked.order)):
        step, entry = document.by_key[key], checked.entries.get(key)
        inner = checked.subplans.get(key)
        if inner is not None:
            path = joined(around, key)
            undos += planned_undos(inner.saved.document, inner.checked, path)
        action = entry.contract.action(step.action) if entry else None
        if entry is None or action is None or action.effect_class == EffectClass.PURE:
            continue
        undo = undo_of(step, entry.contract)
        undos.append(PlannedUndo(joined(around, key), undo["action"] if undo else ""))
    return undos
