"""The buttons of the form view: open, add, move and delete steps, and add inputs."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from execfabric.lib import numbers
from orchestration.plans.domain.edit_fields import ids_of, list_of, value_at
from orchestration.plans.domain.editing import PLAN_ORDER, remove, set_value
from orchestration.plans.domain.plan_text import PlanText
from orchestration.plans.domain.step_editing import (
    delete_step,
    insert_step,
    move_step,
)

PLAN = "plan"
"""The card of the plan itself."""
KINDS: Mapping[str, str] = {
    "approval": "Approval",
    "input": "Input",
    "wait": "Wait",
    "choose": "Choice",
    "plan": "Saved plan",
}
"""The kinds of steps other than actions."""
_NEW: Mapping[str, Mapping[str, Any]] = {
    "approval": {"approval": {"reason": "Approve the next steps."}},
    "input": {
        "form": {"type": "object", "properties": {"answer": {"type": "string"}}},
        "ask": {"reason": "Answer a question."},
    },
    "wait": {"for": "10m"},
    "choose": {"choose": [{"if": "true", "then": []}]},
}
"""The values of a new step of each kind."""
_NAMES = {"input": "ask", "plan": "part"}
"""The ids of new steps that are not the names of their kinds."""


@dataclass(frozen=True)
class PressedButton:
    """The result of a button: the text, the open card, and what gets the focus."""

    text: str
    opened: str
    focus: str = ""


def pressed(plan: PlanText, act: str, argument: str, opened: str) -> PressedButton:
    """Return what a button does; an unknown one, or one without effect, nothing."""
    made = _ACTIONS[act](plan, argument, opened) if act in _ACTIONS else None
    return made or PressedButton(plan.text, opened)


def step_at(plan: PlanText, text: str) -> int | None:
    """Return the position of a step, if the text is that of one."""
    at = numbers.whole(text)
    return at if at is not None and at < len(plan.steps) else None


def _open(plan: PlanText, argument: str, _: str) -> PressedButton:
    return PressedButton(plan.text, argument, f"card-{argument}")


def _close(plan: PlanText, argument: str, _: str) -> PressedButton:
    return PressedButton(plan.text, "", f"card-{argument}")


def _line(plan: PlanText, argument: str, _: str) -> PressedButton | None:
    """Open the card of a line of the text."""
    line = numbers.whole(argument)
    if line is None:
        return None
    found = plan.path_at(line, 1)
    opened = str(found[1]) if found[:1] == ("steps",) and len(found) > 1 else PLAN
    return PressedButton(plan.text, opened, f"card-{opened}")


def _add(plan: PlanText, argument: str, _: str) -> PressedButton | None:
    """Add a step at the end: a kind of step, or a skill and an action."""
    first, _, action = argument.partition(" ")
    if not action and first not in KINDS:
        return None
    at, key = len(plan.steps), _free_id(plan, action or _NAMES.get(first, first))
    step = {"id": key, "kind": first, **_NEW.get(first, {})}
    if action:
        step = {"id": key, "skill": first, "action": action}
    return PressedButton(insert_step(plan, at, step), str(at), "first-field")


def _delete(plan: PlanText, argument: str, opened: str) -> PressedButton | None:
    at, number = step_at(plan, argument), step_at(plan, opened)
    if at is None:
        return None
    if number == at:
        opened = ""
    elif number is not None and number > at:
        opened = str(number - 1)
    following = min(at, len(plan.steps) - 2)
    focus = f"card-{following}" if following >= 0 else "add-step"
    return PressedButton(delete_step(plan, at), opened, focus)


def _up(plan: PlanText, argument: str, opened: str) -> PressedButton | None:
    return _moved(plan, argument, -1, opened)


def _down(plan: PlanText, argument: str, opened: str) -> PressedButton | None:
    return _moved(plan, argument, 1, opened)


def _moved(plan: PlanText, argument: str, by: int, opened: str) -> PressedButton | None:
    at = step_at(plan, argument)
    if at is None or not 0 <= at + by < len(plan.steps):
        return None
    to = at + by
    opened = {str(at): str(to), str(to): str(at)}.get(opened, opened)
    # The button is disabled where the step cannot be moved further.
    is_end = to in (0, len(plan.steps) - 1)
    focus = f"card-{to}" if is_end else f"{'up' if by < 0 else 'down'}-{to}"
    return PressedButton(move_step(plan, at, to), opened, focus)


def _input(plan: PlanText, argument: str, _: str) -> PressedButton | None:
    """Declare an input of a run."""
    path, schema = ("inputs", "properties", argument), {"type": "string"}
    if not argument or plan.node(path) is not None:
        return None
    if plan.node(("inputs",)) is None:
        whole = {"type": "object", "properties": {argument: schema}}
        text = set_value(plan, ("inputs",), whole, PLAN_ORDER)
    else:
        text = set_value(plan, path, schema)
    return PressedButton(text, PLAN, "new-input")


def _drop(plan: PlanText, argument: str, _: str) -> PressedButton:
    """Remove an input of a run."""
    required = ("inputs", "required")
    names = list_of(value_at(plan, required))
    left = [each for each in names if each != argument]
    if left != names:
        text = set_value(plan, required, left) if left else remove(plan, required)
        plan = PlanText(text)
    text = remove(plan, ("inputs", "properties", argument))
    return PressedButton(text, PLAN, "new-input")


def _free_id(plan: PlanText, name: str) -> str:
    base = re.sub(r"[^A-Za-z0-9_-]", "-", name)
    taken, key, number = set(ids_of(plan)), base, 2
    while key in taken:
        key, number = f"{base}-{number}", number + 1
    return key


_ACTIONS: Mapping[str, Callable[[PlanText, str, str], PressedButton | None]] = {
    "open": _open,
    "close": _close,
    "line": _line,
    "add": _add,
    "delete": _delete,
    "up": _up,
    "down": _down,
    "input": _input,
    "drop": _drop,
}
