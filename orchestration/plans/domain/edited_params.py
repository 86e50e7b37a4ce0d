"""Write other parameters of one step into the text of a plan, and change nothing else."""

from collections.abc import Mapping
from typing import Any

from execfabric.lib import canonical
from orchestration.plans.domain import form, source
from orchestration.plans.domain.document import DIGEST_DOMAIN, digest, normal_form
from orchestration.plans.domain.editing import remove, set_value
from orchestration.plans.domain.plan_text import NotEditable, PlanText
from orchestration.plans.domain.problem import ERROR


def with_params(text: str, key: str, params: Mapping[str, Any]) -> str:
    """Return the text of a plan in which a step has other parameters.

    Comments and formatting of what stays the same are kept, if that is possible.

    A text with a value that no plan may have is returned too: a check of it says why.

    :raises NotEditable: when the text cannot be changed to say that
    :raises NotCanonical: when a value cannot be stored
    """
    document, _ = form.read(source.parse(text))
    if document is None:
        raise NotEditable
    place = next(i for i, step in enumerate(document.steps) if step.id == key)
    wanted = normal_form(document)
    wanted["steps"][place] = {**wanted["steps"][place], "params": dict(params)}
    if not params:
        del wanted["steps"][place]["params"]
    expected = canonical.digest_of(DIGEST_DOMAIN, wanted)
    step = document.steps[place]
    path = ("steps", step.index, "params")
    made = found = ""
    for change in (_each_value, _all_values):
        made = change(text, path, step.params, params)
        found = _digest(made)
        if found == expected:
            return made
    if found:
        raise NotEditable
    return made


def params_text(text: str, key: str) -> str:
    """Return the parameters of a step as the text of a plan writes them; "" if none."""
    document, _ = form.read(source.parse(text))
    found = next((s for s in document.steps if s.id == key), None) if document else None
    return PlanText(text).snippet(("steps", found.index, "params")) if found else ""


def read_params(text: str) -> tuple[dict[str, Any] | None, str]:
    """Read parameters that were typed as YAML or JSON; else return why they are none."""
    parsed = source.parse(text)
    if wrong := next((p for p in parsed.problems if p.severity == ERROR), None):
        return None, f"Line {wrong.line}: {wrong.message}"
    value = {} if parsed.value is None else parsed.value
    if not isinstance(value, dict):
        return None, "Write the parameters as names with values, such as value: 5."
    return value, ""


def _each_value(
    text: str, path: tuple[Any, ...], old: Mapping[str, Any], new: Mapping[str, Any]
) -> str:
    for name in old.keys() - new.keys():
        text = remove(PlanText(text), (*path, name))
    for name, value in new.items():
        before = {"value": old[name]} if name in old else {}
        if canonical.dumps(before) != canonical.dumps({"value": value}):
            text = set_value(PlanText(text), (*path, name), value)
    return text


def _all_values(
    text: str, path: tuple[Any, ...], _old: Mapping[str, Any], new: Mapping[str, Any]
) -> str:
    return set_value(PlanText(text), path, dict(new))


def _digest(text: str) -> str:
    found, _ = form.read(source.parse(text))
    return digest(found) if found else ""
