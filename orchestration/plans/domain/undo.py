"""The undo of one step: which action, with which params, still in references.

A plan that names params has said everything, and so has a contract that names them for
its own undo. Otherwise they come from the step that is undone, so that a plan can say
`rollback: {action: delete-branch}`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestration.plans.domain.document import StepDocument
from orchestration.plans.domain.references import SELF
from orchestration.skills.domain.contract import ActionContract, SkillContract

_PLAIN = re.compile(r"[A-Za-z0-9_]+")
_BRACED = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Undo:
    """What takes a step back."""

    action: str
    params: Mapping[str, Any]
    """References are not resolved yet; `$self` is the step that is undone."""


def undo_of(step: StepDocument, contract: SkillContract) -> Undo | None:
    """What undoes a step; None where nothing does, or what the plan names is unknown."""
    action = contract.action(step.action)
    name = step.rollback.action if step.rollback else ""
    name = name or (action.undo if action else "")
    undo = contract.action(name) if name else None
    if action is None or undo is None:
        return None
    if step.rollback is not None and step.rollback.params is not None:
        return Undo(name, dict(step.rollback.params))
    return Undo(name, _derived(step, action, undo))


def _derived(
    step: StepDocument, action: ActionContract, undo: ActionContract
) -> dict[str, Any]:
    """What the contract says of its own undo, else the step's params that it knows.

    What a step yielded says better what to take back than what it was told; a param of
    the same name may mean another thing to the undo.
    """
    if undo.name == action.undo and action.undo_params:
        return dict(action.undo_params)
    known = undo.input_schema.get("properties", {})
    return {
        name: _own(name, value) for name, value in step.params.items() if name in known
    }


def _own(name: str, value: Any) -> Any:
    """A reference to the param as it ran; as written where no reference can name it."""
    if _PLAIN.fullmatch(name):
        return f"${SELF}.params.{name}"
    if _BRACED.fullmatch(name):
        return f"${{{SELF}.params.{name}}}"
    return value
