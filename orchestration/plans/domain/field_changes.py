"""Write what was typed into a field of the form view into the text of the plan."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from orchestration.plans.domain import source
from orchestration.plans.domain.edit_fields import (
    SNIPPET,
    EditField,
    ids_of,
    is_whole_scalar,
    kind_of,
    list_of,
    mapping_of,
    typed_value,
    value_at,
    with_line_ends,
)
from orchestration.plans.domain.editing import (
    PLAN_ORDER,
    STEP_ORDER,
    remove,
    set_source,
    set_value,
)
from orchestration.plans.domain.plan_text import PlanText
from orchestration.plans.domain.problem import ERROR, Path
from orchestration.plans.domain.references import RESERVED
from orchestration.plans.domain.step_editing import rename_step, replace_step
from orchestration.plans.domain.writing import TypedScalar

_ON = True
_MARKER = re.compile(r"^(?:---|\.\.\.)(?:\s|$)", re.MULTILINE)
STEP_ID = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}")


def changed(plan: PlanText, each: EditField, typed: Sequence[str]) -> str:
    """Return the text with what was typed into a field.

    :raises ValueError: with a sentence, if it cannot be written
    """
    text = with_line_ends(typed[0]) if typed else ""
    if write := _WRITERS.get(each.kind):
        return write(plan, each, typed)
    return _written(plan, each, text) if text.strip() else _emptied(plan, each.path)


def is_same(each: EditField, typed: Sequence[str]) -> bool:
    """Return True if a field was not changed."""
    if each.kind == "flag":
        return bool(typed) == bool(each.value)
    if each.kind == "steps":
        return set(typed) == set(each.value)
    return not typed or with_line_ends(typed[0]) == with_line_ends(str(each.value))


def _written(plan: PlanText, each: EditField, text: str) -> str:
    order = STEP_ORDER if each.path[0] == "steps" else PLAN_ORDER
    if each.kind != "value":
        return set_value(plan, each.path, text, order)
    value = typed_value(_one_document(text))
    if isinstance(value, dict | list):
        _without_errors(text)
        return set_source(plan, each.path, text, order)
    if "\n" not in text.strip() and is_whole_scalar(text):
        value = TypedScalar(text.strip(), value)
    return set_value(plan, each.path, value, order)


def _one_document(text: str) -> str:
    if _MARKER.search(text):
        message = "A line may not start with `---` or `...`: they separate documents."
        raise ValueError(message)
    return text


def _without_errors(text: str) -> Any:
    parsed = source.parse(text.strip("\n") + "\n")
    for each in parsed.problems:
        if each.severity == ERROR:
            raise ValueError(f"Line {each.line or 1}: {each.message}")
    return parsed.value


def _with_steps(plan: PlanText, each: EditField, typed: Sequence[str]) -> str:
    ids = [key for key in each.value if key in typed]
    ids += [key for key in each.choices if key in typed and key not in ids]
    if not ids:
        return remove(plan, each.path)
    return set_value(plan, each.path, ids, STEP_ORDER)


def _flagged(plan: PlanText, each: EditField, typed: Sequence[str]) -> str:
    path, is_set = each.path, bool(typed)
    if path[:2] != ("inputs", "required"):
        return set_value(plan, path, _ON, STEP_ORDER) if is_set else remove(plan, path)
    names = [each for each in list_of(value_at(plan, path[:2])) if each != path[2]]
    names += [path[2]] if is_set else []
    return set_value(plan, path[:2], names) if names else remove(plan, path[:2])


def _emptied(plan: PlanText, path: Path) -> str:
    """Remove a value; an approval remains one without its reason."""
    if path[-2:-1] == ("approval",):
        approval = mapping_of(value_at(plan, path[:-1]))
        if len(approval) <= 1 and kind_of(plan.steps[int(path[1])]) == "skill":
            return set_value(plan, path[:-1], _ON)
    return remove(plan, path)


def _renamed(plan: PlanText, each: EditField, typed: Sequence[str]) -> str:
    new = typed[0].strip()
    if not STEP_ID.fullmatch(new) or new in RESERVED:
        message = (
            f"Invalid id {new!r}. Use letters, digits, - and _ starting with a letter."
        )
        raise ValueError(message)
    if new in ids_of(plan):
        raise ValueError(f"Duplicate step id {new!r}.")
    return rename_step(plan, int(each.path[1]), new)


def _replaced(plan: PlanText, each: EditField, typed: Sequence[str]) -> str:
    text = _one_document(with_line_ends(typed[0]))
    is_object = isinstance(_without_errors(text), dict)
    if not is_object:
        raise ValueError("A step must be an object. Write one `key: value` per line.")
    return replace_step(plan, int(each.path[1]), text)


_WRITERS: Mapping[str, Callable[[PlanText, EditField, Sequence[str]], str]] = {
    "flag": _flagged,
    "steps": _with_steps,
    "id": _renamed,
    SNIPPET: _replaced,
}
