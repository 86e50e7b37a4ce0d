"""The undo of a step: its action and its parameters, with references.

Parameters in the plan take precedence, then those that the contract names for
its own undo. Otherwise they are those of the step being undone, so that a plan can say
`rollback: {action: delete-branch}`.
"""

import re
from copy import copy
from typing import Any

from orchestration.plans.domain.document import StepDocument
from orchestration.plans.domain.references import SELF
from orchestration.skills.domain.contract import ActionContract, SkillContract

SUFFIX = ".undo"
"""No step id has a dot, so these keys are free."""
MAX_KEY = 100
_PLAIN = re.compile(r"[A-Za-z0-9_]+")
_BRACED = re.compile(r"[A-Za-z0-9_-]+")


def undo_key_of(key: str) -> str:
    """Return the key of the step run that undoes a step; its parent tells two apart."""
    return f"{key[: MAX_KEY - len(SUFFIX)]}{SUFFIX}"


def is_undo(key: str) -> bool:
    return key.endswith(SUFFIX)


def as_step(step: StepDocument, contract: SkillContract | None) -> StepDocument:
    """Return the undo of a step as a step of its own.

    It has no action if there is none, or if the contract cannot be read. Its approval
    follows from its own risk and the policies.
    """
    undo = (undo_of(step, contract) if contract else None) or {}
    made = copy(step)
    values = {
        "id": undo_key_of(step.id),
        "name": f"Undo of {step.name or step.id}",
        "action": undo.get("action", ""),
        "params": undo.get("params", {}),
        "when": "",
        "rollback": None,
        "approval": None,
        "retry": None,
        "timeout_s": None,
        "fallback": None,
        "on_error": None,
        "sla_s": None,
        "concurrency": None,
    }
    for attribute, value in values.items():
        object.__setattr__(made, attribute, value)
    return made


def undo_of(step: StepDocument, contract: SkillContract) -> dict[str, Any] | None:
    """Return the undo of a step; None if it has none or names an unknown action.

    It has `action` and `params`, in which `$self` is the step being undone.
    """
    action = contract.action(step.action)
    name = step.rollback.action if step.rollback else ""
    name = name or (action.undo if action else "")
    undo = contract.action(name) if name else None
    if action is None or undo is None:
        return None
    if step.rollback is not None and step.rollback.params is not None:
        params = dict(step.rollback.params)
    else:
        params = _derived(step, action, undo)
    return {"action": name, "params": params}


def _derived(
    step: StepDocument, action: ActionContract, undo: ActionContract
) -> dict[str, Any]:
    """Return the contract's undo parameters, or those that the step shares.

    The contract goes first: its undo usually needs the step's output, and a parameter
    of the same name may have another meaning there.
    """
    if undo.name == action.undo and action.undo_params:
        return dict(action.undo_params)
    known = undo.input_schema.get("properties", {})
    return {
        name: _reference(name, value)
        for name, value in step.params.items()
        if name in known
    }


def _reference(name: str, value: Any) -> Any:
    """Return a reference to the parameter; its value if the name is unusual."""
    if _PLAIN.fullmatch(name):
        return f"${SELF}.params.{name}"
    if _BRACED.fullmatch(name):
        return f"${{{SELF}.params.{name}}}"
    return value
