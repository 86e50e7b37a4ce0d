"""Params of one step, held against an action's input schema before they are known.

A reference stands for a value that only the run will know. What is certain whatever
it turns out to be (a missing param, a wrong type) is said now; the rest is left to
the run, which checks the resolved params when it releases the step, and at dispatch.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from jsonschema.exceptions import ValidationError

from execfabric.lib.refusal import Refusal
from orchestration.plans.domain import references, schemas
from orchestration.plans.domain.catalog import CatalogEntry
from orchestration.plans.domain.document import PlanDocument, StepDocument
from orchestration.plans.domain.graph import Ancestry
from orchestration.plans.domain.naming import near
from orchestration.plans.domain.problem import WARNING, Problems
from orchestration.plans.domain.references import FIRST, SELF, Reference, Scope
from orchestration.skills.domain.contract import ActionContract

Way = tuple[str | int, ...]
APPROVAL_OUTPUT: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"approved": {"type": "boolean"}},
}
FILES: Mapping[str, Any] = {"type": ["object", "array"]}
_SURE = frozenset(
    {
        "required", "additionalProperties", "unevaluatedProperties", "propertyNames",
        "dependentRequired", "minProperties", "maxProperties", "minItems", "maxItems",
        "type",
    }
)  # fmt: skip
"""Keywords about an object or list itself, whatever its unknown parts turn out to be."""


@dataclass(frozen=True)
class Around:
    """What a step's params can refer to."""

    document: PlanDocument
    entries: Mapping[str, CatalogEntry]
    ancestry: Ancestry
    inputs: Mapping[str, Any] | None = None
    """The inputs of the run, where they are known and sound."""

    def action(self, key: str) -> ActionContract | None:
        """The action of a step, where the registry knows it."""
        entry = self.entries.get(key)
        return entry.contract.action(self.document.step(key).action) if entry else None

    def is_first(self, found: Reference) -> bool:
        """Return True for `$first`, unless a step of the plan has that id."""
        return found.head == FIRST and not self.document.has(FIRST)

    def parents(self, step: StepDocument) -> list[str]:
        """Return the known steps that a step depends on."""
        return [key for key in step.depends_on if self.document.has(key)]

    def schemas_of(
        self, step: StepDocument, found: Reference
    ) -> list[Mapping[str, Any]]:
        """Return the schema of each value that a sound reference may have."""
        if not self.is_first(found):
            return [self._schema_of(step, found)]
        if found.path == ("id",):
            return [{"type": "string"}]
        each = [replace(found, head=key) for key in self.parents(step)]
        return [self._schema_of(step, one) for one in each]

    def _schema_of(self, step: StepDocument, found: Reference) -> Mapping[str, Any]:
        """What a sound reference yields, as far as anything says; {} for unknown."""
        if found.head == "inputs":
            declared = self.document.inputs_schema or {}
            return schemas.within(declared, found.path) or {}
        if found.head == "run":
            return {"type": "string"}
        name = step.id if found.head == SELF else found.head
        if not self.document.has(name):
            return {}
        action = self.action(name)
        kind, path = found.path[0], found.path[1:]
        if kind == "files":
            return FILES if len(path) == 1 else {}
        if kind == "params":
            return schemas.within(action.input_schema, path) or {} if action else {}
        return schemas.within(self.output_schema(name), path) or {}

    def output_schema(self, key: str) -> Mapping[str, Any]:
        """What a step's output looks like; empty where nothing is known."""
        if self.document.step(key).kind == "approval":
            return APPROVAL_OUTPUT
        action = self.action(key)
        return action.output_schema if action else {}


def check(
    step: StepDocument,
    params: Mapping[str, Any],
    action: ActionContract,
    around: Around,
    problems: Problems,
    at: Way,
) -> None:
    """Note every problem that params certainly have with an action's input schema."""
    value = _Unknowns(around.inputs).replaced(params)
    found, unusable = schemas.errors(action.input_validator, value)
    if unusable:
        message = f"The input schema of {action.name} cannot be used: {unusable}."
        problems.add("plan.param_invalid", message, at, step=step.id)
    undecided = holds_unknown(value)
    for error in found:
        if not undecided or certain(error):
            for message, way in _said(error, action):
                place = (*at, *way)
                problems.add("plan.param_invalid", message, place, step=step.id)
    _check_types(step, params, action, around, problems, at)


def _check_types(
    step: StepDocument,
    params: Mapping[str, Any],
    action: ActionContract,
    around: Around,
    problems: Problems,
    at: Way,
) -> None:
    """Where producer and consumer both name types and have none in common."""
    for found in references.find(params):
        if found.broken or not found.path:
            continue
        place = (*at, *found.where)
        if not found.whole:
            if found.path[0] == "files" and found.head not in {"inputs", "run"}:
                message = f"{found} is a file; it cannot stand inside a text."
                problems.add("plan.type_mismatch", message, place, step=step.id)
            continue
        wanted = schemas.within(action.input_schema, found.where) or {}
        each = (schemas.mismatch(one, wanted) for one in around.schemas_of(step, found))
        if why := next(filter(None, each), ""):
            message = f"{found}: {why}."
            problems.add("plan.type_mismatch", message, place, step=step.id)
        elif found.optional and "null" not in (schemas.types(wanted) or {"null"}):
            problems.add(
                "plan.reference_may_be_null",
                f"{found} may be null, which {action.name} does not take here.",
                place,
                step=step.id,
                severity=WARNING,
            )


class Unknown:
    """Stands for a value that only the run will know."""

    def __repr__(self) -> str:
        return "…"


class UnknownText(str):
    """Stands for a text of which only the run will know the whole."""

    __slots__ = ()


class _Unknowns:
    """Puts stand-ins where references are, and values where they are known."""

    def __init__(self, inputs: Mapping[str, Any] | None) -> None:
        self._known = {"inputs"} if inputs is not None else set()
        self._scope = Scope(inputs or {}, {})

    def replaced(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value) if "$" in value else value
        if isinstance(value, Mapping):
            if set(value) == {"$secret"}:
                return Unknown()
            return {key: self.replaced(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.replaced(item) for item in value]
        return value

    def _text(self, text: str) -> Any:
        found = list(references.find(text))
        if all(one.head in self._known for one in found):
            try:
                return references.resolve(text, self._scope)
            except Refusal:
                return Unknown()
        return Unknown() if found[0].whole else UnknownText(text)


def holds_unknown(value: Any) -> bool:
    """Whether a stand-in is in a value."""
    if isinstance(value, Mapping):
        return any(holds_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(holds_unknown(item) for item in value)
    return isinstance(value, Unknown | UnknownText)


def certain(error: ValidationError) -> bool:
    """Whether an error stays whatever the unknown values turn out to be."""
    if isinstance(error.instance, Unknown):
        return False
    if {"then", "else"} & set(error.absolute_schema_path):
        # Which branch applies may hang on a value that is not known.
        return False
    if not holds_unknown(error.instance) or error.validator in _SURE:
        return True
    return error.validator in {"anyOf", "oneOf"} and _no_branch(error)


def _no_branch(error: ValidationError) -> bool:
    """Whether every alternative fails for certain."""
    branches: dict[Any, bool] = {}
    for inner in error.context or ():
        branch = inner.relative_schema_path[0]
        branches[branch] = branches.get(branch, False) or certain(inner)
    return bool(branches) and all(branches.values())


def _said(error: ValidationError, action: ActionContract) -> Iterator[tuple[str, Way]]:
    """Sentences about an error, each with its way into the params."""
    way = tuple(error.absolute_path)
    inside = ".".join(str(part) for part in way)
    prefix = f"{inside}: " if inside else ""
    schema: Any = error.schema
    simple = error.validator == "additionalProperties" and not error.validator_value
    if simple and "patternProperties" not in schema:
        known = list(schema.get("properties", {}))
        for name in [key for key in _keys(error.instance) if key not in known]:
            hint = near(name, known)
            yield f"{prefix}{action.name} takes no {name!r}.{hint}", (*way, name)
        return
    message = schemas.message_of(error)
    yield f"{prefix}{message.replace('is a required property', 'is missing')}.", way


def _keys(value: Any) -> list[str]:
    return list(value) if isinstance(value, Mapping) else []
