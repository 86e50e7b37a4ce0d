"""Write a plan step that uses an action, as an example to copy."""

from collections.abc import Mapping
from typing import Any

import yaml

from orchestration.skills.domain.contract import ActionContract

FILE_REFERENCE = "$earlier-step.files.name"
_BY_TYPE: Mapping[str, Any] = {
    "array": [],
    "boolean": True,
    "integer": 1,
    "number": 1.0,
    "object": {},
    "string": "text",
}


def example_step(slug: str, action: ActionContract) -> str:
    """Return a step in YAML with a value for each required parameter."""
    properties = action.input_schema.get("properties", {})
    required = action.input_schema.get("required", ())
    params = {name: _example(properties.get(name, {})) for name in required}
    step = {"id": action.name, "skill": slug, "action": action.name}
    steps = [step | ({"params": params} if params else {})]
    return yaml.safe_dump(steps, sort_keys=False, allow_unicode=True)


def _example(rule: Any) -> Any:
    """Return the first example that a schema has, or a value of its type."""
    if not isinstance(rule, Mapping):
        return "text"
    for examples in (rule.get("examples"), rule.get("enum"), [rule.get("default")]):
        if examples and examples[0] is not None:
            return examples[0]
    if _is_file(rule):
        return FILE_REFERENCE
    kind = rule.get("type", "string")
    if kind == "array" and rule.get("minItems"):
        return [_example(rule.get("items"))]
    return _BY_TYPE.get(kind if isinstance(kind, str) else kind[0], "text")


def _is_file(rule: Mapping[str, Any]) -> bool:
    options = [rule, *rule.get("anyOf", ())]
    return any("$file" in option.get("properties", {}) for option in options)
