"""Params, references and undo of one step, held against schemas."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from orchestration.plans.domain import references
from orchestration.plans.domain.document import PlanDocument, StepDocument
from orchestration.plans.domain.problem import Problems
from orchestration.plans.domain.references import SELF, Reference
from orchestration.skills.domain.contract import ActionContract

if TYPE_CHECKING:
    from orchestration.plans.domain.validation import CatalogEntry

Way = tuple[str | int, ...]
APPROVAL_OUTPUT: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"approved": {"type": "boolean"}},
}


@dataclass(frozen=True)
class Around:
    """What a step's params can refer to."""

    document: PlanDocument
    entries: Mapping[str, "CatalogEntry"]
    ancestors: frozenset[str]

    def action(self, key: str) -> ActionContract | None:
        """The action of a step, where the registry knows it."""
        entry = self.entries.get(key)
        return entry.contract.action(self.document.step(key).action) if entry else None

    def output_schema(self, key: str) -> Mapping[str, Any]:
        """What a step's output looks like; empty where nothing is known."""
        if self.document.step(key).kind == "approval":
            return APPROVAL_OUTPUT
        action = self.action(key)
        return action.output_schema if action else {}


def check(step: StepDocument, around: Around, problems: Problems, at: Way) -> None:
    """Note every problem of a step's params, its question and its undo."""
    _references(step, step.params, around, problems, (*at, "params"))
    if step.approval is not None:
        way = (*at, "approval", "reason")
        _references(step, step.approval.reason, around, problems, way)
    action = around.action(step.id)
    if action is not None:
        _against(step, step.params, action, around, problems, (*at, "params"))
    _undo(step, action, around, problems, (*at, "rollback"))


def _references(
    step: StepDocument,
    value: Any,
    around: Around,
    problems: Problems,
    at: Way,
    *,
    undo: bool = False,
) -> None:
    for found in references.find(value):
        said = _wrong(step, found, around, undo=undo)
        if said is not None:
            code, message = said
            problems.add(code, message, (*at, *found.where), step=step.id)


def _wrong(
    step: StepDocument, found: Reference, around: Around, *, undo: bool
) -> tuple[str, str] | None:
    """What is wrong with a reference: code and sentence; None for nothing."""
    unknown = "plan.reference_unknown"
    if found.head == "inputs":
        return _wrong_input(found, around.document)
    if found.head == "run":
        if found.path == ("id",):
            return None
        return unknown, f"{found}: of the run only $run.id can be referred to."
    if found.head == SELF and not undo:
        return unknown, "$self is the step that is undone; it exists in rollback only."
    name = step.id if found.head == SELF else found.head
    if found.head == "item" or name not in {s.id for s in around.document.steps}:
        message = (
            f"{found}: there is no step {found.head!r}. For a dollar sign write $$."
        )
        return unknown, message
    if name == step.id and not undo:
        return "plan.self_reference", f"{found} refers to the step itself."
    if name != step.id and name not in around.ancestors:
        message = (
            f"{found}: {name} need not be done before {step.id}; add it to dependsOn."
        )
        return "plan.reference_not_ancestor", message
    if found.head == SELF and found.path[:1] == ("params",):
        return None
    return _wrong_way(name, found, around)


def _wrong_input(found: Reference, document: PlanDocument) -> tuple[str, str] | None:
    known = (document.inputs_schema or {}).get("properties", {})
    if found.path and (found.path[0] in known):
        return None
    return "plan.reference_unknown", f"{found}: the plan has no such input."


def _wrong_way(name: str, found: Reference, around: Around) -> tuple[str, str] | None:
    kind = found.path[0] if found.path else ""
    if kind == "files":
        action = around.action(name)
        if action is None or (len(found.path) > 1 and found.path[1] in action.files):
            return None
        names = ", ".join(action.files) or "none"
        return "plan.reference_unknown", f"{found}: {name} yields these files: {names}."
    if kind != "output":
        message = f"{found}: write ${name}.output or ${name}.files."
        return "plan.reference_unknown", message
    if _schema_at(around.output_schema(name), found.path[1:]) is None:
        message = f"{found}: the output of {name} has no such field."
        return "plan.reference_unknown", message
    return None


def _schema_at(
    schema: Mapping[str, Any], path: Sequence[str]
) -> Mapping[str, Any] | None:
    """The schema of a part: {} where nothing is said, None where it cannot be."""
    for part in path:
        properties = schema.get("properties")
        if properties is not None and part in properties:
            schema = properties[part]
        elif part.isdigit() and isinstance(schema.get("items"), Mapping):
            schema = schema["items"]
        elif properties is not None and schema.get("additionalProperties") is False:
            return None
        else:
            return {}
    return schema


class _Unknown:
    """Stands for a value that only the run will know."""


def _against(
    step: StepDocument,
    params: Mapping[str, Any],
    action: ActionContract,
    around: Around,
    problems: Problems,
    at: Way,
) -> None:
    """Params against the input schema; what is not known yet is not complained of."""
    by_place = {f.where: f for f in references.find(params) if f.whole}
    validator = Draft202012Validator(action.input_schema)
    for error in validator.iter_errors(_plain(params)):
        if not _concerns_unknown(error, params):
            message = f"{_name(error)}{error.message}."
            way = (*at, *error.absolute_path)
            problems.add("plan.param_invalid", message, way, step=step.id)
    for place, found in by_place.items():
        mismatch = _mismatch(found, action.input_schema, around)
        if mismatch:
            problems.add("plan.type_mismatch", mismatch, (*at, *place), step=step.id)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _concerns_unknown(error: ValidationError, params: Mapping[str, Any]) -> bool:
    """Whether an error is about a value with a reference in it."""
    value: Any = params
    for part in error.absolute_path:
        value = value[part]
    if error.validator in {"required", "additionalProperties", "propertyNames"}:
        return False
    return any(True for _ in references.find(value))


def _name(error: ValidationError) -> str:
    way = ".".join(str(part) for part in error.absolute_path)
    return f"{way}: " if way else ""


def _mismatch(found: Reference, schema: Mapping[str, Any], around: Around) -> str:
    """Where producer and consumer both name types and have none in common."""
    wanted = set(_types(_schema_at(schema, [str(part) for part in found.where]) or {}))
    given = set(_types(_given(found, around)))
    if "number" in wanted:
        wanted.add("integer")
    if not wanted or not given or wanted & given:
        return ""
    return f"{found} is {_or(given)}, and {_or(wanted)} is wanted here."


def _given(found: Reference, around: Around) -> Mapping[str, Any]:
    if found.head == "inputs":
        return _schema_at(around.document.inputs_schema or {}, found.path) or {}
    if found.path[:1] == ("files",):
        return {}
    known = found.step is not None and found.step in around.ancestors
    if not known or found.step is None or found.path[:1] != ("output",):
        return {}
    return _schema_at(around.output_schema(found.step), found.path[1:]) or {}


def _types(schema: Mapping[str, Any]) -> Iterator[str]:
    kinds = schema.get("type", ())
    yield from [kinds] if isinstance(kinds, str) else kinds


def _or(kinds: set[str]) -> str:
    return " or ".join(sorted(kinds))


def _undo(
    step: StepDocument,
    action: ActionContract | None,
    around: Around,
    problems: Problems,
    at: Way,
) -> None:
    if step.rollback is None or action is None:
        return
    contract = around.entries[step.id].contract
    name = step.rollback.action or action.undo
    undo = contract.action(name) if name else None
    if undo is None:
        message = (
            f"{contract.slug} has no action {name!r} to undo with."
            if name
            else f"{action.name} has no undo; name an action."
        )
        problems.add("plan.undo_missing", message, (*at, "action"), step=step.id)
        return
    given = step.rollback.params
    if given is not None:
        way = (*at, "params")
        _references(step, given, around, problems, way, undo=True)
        _against(step, given, undo, around, problems, way)
