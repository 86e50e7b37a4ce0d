"""A blueprint: the document that tells a plan template what to assemble.

`blueprint` in a plan is the JSON Schema of a required input with that name. In the same
plan `$blueprint.x` is short for `$inputs.blueprint.x`, and `blueprint.x` in a condition
for `inputs.blueprint.x`. The normal form has the long names only.
"""

import re
from collections.abc import Mapping
from typing import Any

from orchestration.plans.domain import conditions, references

NAME = "blueprint"
_REFERENCE = re.compile(rf"\$(\$|\{{?{NAME}(?![A-Za-z0-9_-]))")


def expanded(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return a plan with the input and the long names, without the key `blueprint`."""
    steps = plan.get("steps")
    found = {key: value for key, value in plan.items() if key != NAME}
    found["inputs"] = _with_input(plan.get("inputs"), plan[NAME])
    if isinstance(steps, list):
        found["steps"] = [_step(step) for step in steps]
    for key in ("concurrency", "outputs"):
        if key in found:
            found[key] = _value(found[key])
    return found


def flaw(plan: Mapping[str, Any]) -> str:
    """Return why a plan cannot have its blueprint; empty if it can."""
    if not isinstance(plan[NAME], Mapping):
        return "'blueprint' must be a JSON Schema of an object."
    inputs = plan.get("inputs")
    known = inputs.get("properties") if isinstance(inputs, Mapping) else None
    if isinstance(known, Mapping) and NAME in known:
        return "The inputs cannot declare 'blueprint' too."
    steps = plan.get("steps")
    for step in steps if isinstance(steps, list) else ():
        if isinstance(step, Mapping) and NAME in {step.get("id"), step.get("as")}:
            return "A plan with a blueprint cannot use that name for a step or an item."
    return ""


def _with_input(inputs: Any, schema: Any) -> Any:
    if inputs is not None and not isinstance(inputs, Mapping):
        return inputs
    declared = dict(inputs or {"type": "object"})
    properties, required = declared.get("properties"), declared.get("required")
    if isinstance(properties, Mapping | None):
        declared["properties"] = {NAME: schema, **(properties or {})}
    if isinstance(required, list | None):
        declared["required"] = [NAME, *(required or ())]
    return declared


def _step(step: Any) -> Any:
    if not isinstance(step, Mapping):
        return step
    found = {key: _value(value) for key, value in step.items()}
    if isinstance(step.get("when"), str):
        found["when"] = _condition(step["when"])
    if isinstance(step.get("choose"), list):
        found["choose"] = [_rule(rule) for rule in step["choose"]]
    return found


def _rule(rule: Any) -> Any:
    if isinstance(rule, Mapping) and isinstance(rule.get("if"), str):
        return {**rule, "if": _condition(rule["if"])}
    return rule


def _value(value: Any) -> Any:
    """Return a JSON value with the long names in its references."""
    return references.mapped(value, lambda text: _REFERENCE.sub(_long, text))


def _long(match: re.Match[str]) -> str:
    return match[0].replace(NAME, f"inputs.{NAME}")


def _condition(source: str) -> str:
    starts = [
        name.start for name in conditions.scan(source).names if name.parts[0] == NAME
    ]
    for start in reversed(starts):
        source = f"{source[:start]}inputs.{source[start:]}"
    return source
