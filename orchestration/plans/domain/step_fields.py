"""The fields of a plan and of its steps in the form view.

A field belongs to a path in the text. Nothing is stored but the text.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from orchestration.plans.domain.document import STEP_KEYS, PlanDocument, StepDocument
from orchestration.plans.domain.edit_fields import (
    EditField,
    FieldKind,
    PlanVocabulary,
    ids_of,
    kind_of,
    list_of,
    mapping_of,
    typed_value,
    value_at,
)
from orchestration.plans.domain.form import SPELLINGS
from orchestration.plans.domain.kinds import FOREIGN_KEYS
from orchestration.plans.domain.plan_text import PlanText
from orchestration.plans.domain.problem import Path

LABELS: Mapping[str, str] = {
    "id": "ID",
    "dependsOn": "Depends on",
    "when": "Condition",
    "for": "Wait for",
    "until": "Wait until",
    "event": "Wait for an event",
    "expiresIn": "Expires after",
    "choose": "Rules",
    "form": "Form",
    "plan": "Saved plan",
    "sla": "SLA",
    "forEach": "For each",
    "as": "Name of the item",
    "max": "Items at the same time",
    "triggerRule": "Trigger rule",
    "onItemError": "When an item fails",
    "onFailure": "When a step fails",
    "onError": "When this step fails",
    "rollbackAfterFailures": "Roll back after this many failures",
}
"""The label of a key, if it is not the key itself in words."""
HINTS: Mapping[str, str] = {
    "when": "In CEL, for example steps.scan.output.score > 10",
    "for": "For example 10m",
    "until": "For example 2030-03-01T06:00:00+01:00",
    "expiresIn": "For example 2d",
}
TYPES = ("string", "integer", "number", "boolean", "array", "object")
_MAIN: Mapping[str, Sequence[str]] = {
    "skill": ("skill", "action"),
    "approval": (),
    "choose": ("choose",),
    "wait": ("for", "until", "event", "expiresIn"),
    "input": ("form",),
    "plan": ("plan",),
}
_MORE_OF_PLAN = (
    "parallel",
    "blueprint",
    "onFailure",
    "rollbackAfterFailures",
    "sla",
    "concurrency",
    "outputs",
    "inputs",
)
_LINES = {
    "as",
    "join",
    "max",
    "onError",
    "onFailure",
    "onItemError",
    "rollbackAfterFailures",
    "sla",
    "timeout",
    "triggerRule",
    "version",
}
"""The settings whose fields have one line."""


def step_fields(
    plan: PlanText, at: int, words: PlanVocabulary
) -> dict[str, list[EditField]]:
    """Return the fields of a step: the main ones, its parameters, more, and the text."""
    step, path = plan.steps[at], ("steps", at)
    if not isinstance(step, Mapping):
        return {"main": [], "params": [], "more": [], "text": [_snippet(plan, path)]}
    kind = kind_of(step)
    main = [
        EditField((*path, "id"), "id", "ID", _text(plan, (*path, "id"))),
        _field(plan, (*path, "name"), "text"),
        *(_main_field(plan, path, key, step, words) for key in _MAIN[kind]),
        EditField(
            (*path, "dependsOn"),
            "steps",
            "Depends on",
            tuple(map(str, list_of(value_at(plan, (*path, "dependsOn"))))),
            choices=[each for each in ids_of(plan) if each != step.get("id")],
        ),
        _field(plan, (*path, "when"), "text"),
        *_approval(plan, path, kind),
    ]
    shown = {each.path[2] for each in main} | {"kind", "params", "inputs", "approval"}
    foreign = {*FOREIGN_KEYS[kind], *shown}
    more = [key for key in STEP_KEYS if key not in foreign]
    more += [key for key in map(_camel, step) if key not in {*STEP_KEYS, *shown}]
    return {
        "main": main,
        "params": list(_params(plan, path, step, words)),
        "more": [
            *_deciders(plan, path, kind),
            *(_field(plan, (*path, key), "value", key=key) for key in more),
        ],
        "text": [_snippet(plan, path)],
    }


def plan_fields(plan: PlanText) -> dict[str, list[EditField]]:
    """Return the fields of the plan itself: its name, its inputs, and more."""
    main = [_field(plan, (key,), "text") for key in ("id", "name", "description")]
    inputs = value_at(plan, ("inputs", "properties"))
    params = [
        each
        for name in (inputs if isinstance(inputs, Mapping) else ())
        for each in _input(plan, str(name))
    ]
    more = [_field(plan, (key,), "value", key=key) for key in _MORE_OF_PLAN]
    return {"main": main, "params": params, "more": more, "text": []}


def _main_field(
    plan: PlanText, path: Path, key: str, step: Mapping[str, Any], words: PlanVocabulary
) -> EditField:
    if key in {"for", "until", "expiresIn"}:
        return _field(plan, (*path, key), "text")
    if key not in {"skill", "action", "plan"}:
        return _field(plan, (*path, key), "value")
    if key == "action":
        choices = [each["name"] for each in words.actions(step)]
    elif key == "skill":
        choices = [each["slug"] for each in words.skills]
    else:
        choices = [each["id"] for each in words.plans]
    value = _text(plan, (*path, key))
    if value not in choices:
        choices = [value, *choices]
    label = LABELS.get(key, key.capitalize())
    return EditField((*path, key), "choice", label, value, choices=choices)


def _params(
    plan: PlanText, path: Path, step: Mapping[str, Any], words: PlanVocabulary
) -> Iterator[EditField]:
    """Return a field for each parameter that the action has, and for all others."""
    key = "inputs" if kind_of(step) == "plan" else "params"
    known = {
        each["name"]: each
        for each in words.action(step).get("params", ())
        or words.plan(step).get("inputs", ())
    }
    written = mapping_of(value_at(plan, (*path, key)))
    names = sorted(known, key=lambda name: not known[name]["required"])
    for name in [*names, *(str(each) for each in written if each not in known)]:
        rule = known.get(name, {})
        here = (*path, key, name)
        is_text = rule.get("type") == "string" and isinstance(
            written.get(name, ""), str
        )
        yield EditField(
            here,
            "text" if is_text else "value",
            name,
            _text(plan, here, is_text=is_text),
            hint=rule.get("description", ""),
            is_required=rule.get("required", False),
            is_scalar=True,
            choices=rule.get("choices", ()) or _booleans(rule),
        )


def _booleans(rule: Mapping[str, Any]) -> Sequence[str]:
    return ("true", "false") if rule.get("type") == "boolean" else ()


def _approval(plan: PlanText, path: Path, kind: str) -> Iterator[EditField]:
    """Return the fields of the approval of a step, or of the question to people."""
    if kind == "input":
        here = (*path, "ask", "reason")
        yield EditField(here, "text", "Reason", _text(plan, here))
    if kind not in {"skill", "approval"}:
        return
    is_set = value_at(plan, (*path, "approval")) not in (None, False)
    if kind == "skill":
        yield EditField((*path, "approval"), "flag", "Needs an approval", value=is_set)
    if is_set or kind == "approval":
        here = (*path, "approval", "reason")
        yield EditField(here, "text", "Reason for the approval", _text(plan, here))


def _deciders(plan: PlanText, path: Path, kind: str) -> Iterator[EditField]:
    """Return the fields of who approves or answers, and for how long."""
    part = "ask" if kind == "input" else "approval"
    if kind == "skill" and value_at(plan, (*path, part)) in (None, False):
        return
    if kind in {"skill", "approval", "input"}:
        for key, hint in (("groups", "[operator]"), ("expiresIn", "2d")):
            label = "Groups" if key == "groups" else "Open for"
            here = (*path, part, key)
            yield EditField(
                here,
                "value",
                label,
                _text(plan, here, is_text=False),
                hint=f"For example {hint}",
                key=f"{part}.{key}",
                is_scalar=True,
            )


def _input(plan: PlanText, name: str) -> Iterator[EditField]:
    path = ("inputs", "properties", name)
    required = list_of(value_at(plan, ("inputs", "required")))
    kind = _text(plan, (*path, "type"))
    choices = TYPES if kind in TYPES else (kind, *TYPES)
    yield EditField((*path, "type"), "choice", f"Type of {name}", kind, choices=choices)
    title = _text(plan, (*path, "title"))
    yield EditField((*path, "title"), "text", f"Title of {name}", title)
    yield EditField(
        ("inputs", "required", name), "flag", f"{name} is required", name in required
    )


def _snippet(plan: PlanText, path: Path) -> EditField:
    return EditField(path, "snippet", "Step as YAML", plan.snippet(path))


def _field(
    plan: PlanText, path: Path, kind: FieldKind, key: str = "", hint: str = ""
) -> EditField:
    name = str(path[-1])
    words = re.sub(r"([A-Z])", lambda found: f" {found[1].lower()}", name)
    return EditField(
        path,
        kind,
        LABELS.get(name, words[:1].upper() + words[1:]),
        _text(plan, path, is_text=kind == "text"),
        hint=hint or HINTS.get(name, "") or (_documented(path) if key else ""),
        key=key,
        is_scalar=name in _LINES,
    )


def _documented(path: Path) -> str:
    """Return what the schema of plans says about a key."""
    part: Any = StepDocument if path[0] == "steps" else PlanDocument
    names = {
        str(each.validation_alias): each.description or ""
        for each in part.__pydantic_fields__.values()
    }
    return names.get(str(path[-1]), "")


def _text(plan: PlanText, path: Path, *, is_text: bool = True) -> str:
    """Return a value as the text of its field."""
    value = value_at(plan, path)
    if value is None:
        return ""
    if not isinstance(value, str):
        return plan.snippet(path)
    is_plain = is_text or typed_value(value) == value
    return value if is_plain else json.dumps(value, ensure_ascii=False)


def _camel(key: str) -> str:
    return SPELLINGS.get(key, key)


def references(plan: PlanText, at: int, words: PlanVocabulary) -> Iterator[str]:
    """Return the references that the parameters of a step can use."""
    this = plan.steps[at]
    if isinstance(this, Mapping) and "forEach" in this:
        yield from (f"${this.get('as', 'item')}", "$index")
    for name in mapping_of(value_at(plan, ("inputs", "properties"))):
        yield f"$inputs.{name}"
    for name in mapping_of(value_at(plan, ("blueprint", "properties"))):
        yield f"$blueprint.{name}"
    for step in plan.steps:
        if step is not this and isinstance(step, Mapping) and step.get("id"):
            yield from (f"${step['id']}.{name}" for name in _results(step, words))
    yield "$run.id"


def _results(step: Mapping[str, Any], words: PlanVocabulary) -> list[str]:
    action = words.action(step)
    outputs: Sequence[str] = action.get("outputs", ())
    if "forEach" in step:
        return [f"output.{name}" for name in ("items", "count", "succeeded", "failed")]
    if step.get("kind") == "input":
        outputs = list(mapping_of(mapping_of(step.get("form")).get("properties")))
    if step.get("kind") == "plan":
        outputs = words.plan(step).get("outputs", ())
    files = (f"files.{name}" for name in action.get("files", ()))
    return [*(f"output.{name}" for name in outputs), *files]
