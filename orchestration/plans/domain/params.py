"""Check the parameters of a step against its action's schema before they are known.

A reference is replaced by a value that only the run will know. What is certain regardless
of that value (a missing parameter, a wrong type) is reported now. The rest is checked
by the run, when it releases the step and again at dispatch.
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
from orchestration.plans.domain.problem import WARNING, Path, Problems
from orchestration.plans.domain.references import FIRST, SELF, Reference, Scope
from orchestration.skills.domain.contract import ActionContract

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
"""Keywords about an object or list itself, regardless of its unknown parts."""


@dataclass(frozen=True)
class Around:
    """The things that the references of a step can name."""

    document: PlanDocument
    entries: Mapping[str, CatalogEntry]
    ancestry: Ancestry
    inputs: Mapping[str, Any] | None = None
    """The inputs of the run, if they are known and valid."""

    def action(self, key: str) -> ActionContract | None:
        """Return the action of a step, if the registry knows it."""
        entry = self.entries.get(key)
        return entry.contract.action(self.document.step(key).action) if entry else None

    def is_first(self, reference: Reference) -> bool:
        """Return True for `$first`, unless a step of the plan has that id."""
        return reference.head == FIRST and not self.document.has(FIRST)

    def parents(self, step: StepDocument) -> list[str]:
        """Return the known steps that a step depends on."""
        return [key for key in step.depends_on if self.document.has(key)]

    def schemas_of(
        self, step: StepDocument, reference: Reference
    ) -> list[Mapping[str, Any]]:
        """Return the schema of each value that a valid reference may have."""
        if not self.is_first(reference):
            return [self._schema_of(step, reference)]
        if reference.path == ("id",):
            return [{"type": "string"}]
        each = [replace(reference, head=key) for key in self.parents(step)]
        return [self._schema_of(step, each_reference) for each_reference in each]

    def _schema_of(self, step: StepDocument, reference: Reference) -> Mapping[str, Any]:
        """Return the schema of a referenced value; {} if unknown."""
        if reference.head == "inputs":
            declared = self.document.inputs_schema or {}
            return schemas.within(declared, reference.path) or {}
        if reference.head == "run":
            return {"type": "string"}
        name = step.id if reference.head == SELF else reference.head
        if not self.document.has(name):
            return {}
        action = self.action(name)
        kind, path = reference.path[0], reference.path[1:]
        if kind == "files":
            return FILES if len(path) == 1 else {}
        if kind == "params":
            return schemas.within(action.input_schema, path) or {} if action else {}
        return schemas.within(self.output_schema(name), path) or {}

    def output_schema(self, key: str) -> Mapping[str, Any]:
        """Return the schema of a step's output; {} if unknown."""
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
    at: Path,
) -> None:
    """Note every certain problem of parameters with an action's input schema."""
    value = _Unknowns(around.inputs).replaced(params)
    errors, unusable = schemas.errors(action.input_validator, value)
    if unusable:
        message = f"The input schema of {action.name} cannot be used: {unusable}."
        problems.add("plan.param_invalid", message, at, step=step.id)
    has_unknown = holds_unknown(value)
    for error in errors:
        if not has_unknown or certain(error):
            for message, path in _sentences(error, action):
                problems.add("plan.param_invalid", message, (*at, *path), step=step.id)
    _check_types(step, params, action, around, problems, at)


def _check_types(
    step: StepDocument,
    params: Mapping[str, Any],
    action: ActionContract,
    around: Around,
    problems: Problems,
    at: Path,
) -> None:
    """Note references whose possible types do not fit their place."""
    for reference in references.find(params):
        if reference.broken or not reference.path:
            continue
        path = (*at, *reference.where)
        if not reference.whole:
            if reference.path[0] == "files" and reference.head not in {"inputs", "run"}:
                message = f"{reference} is a file, so it cannot be part of a text."
                problems.add("plan.type_mismatch", message, path, step=step.id)
            continue
        wanted = schemas.within(action.input_schema, reference.where) or {}
        offered = around.schemas_of(step, reference)
        reasons = (schemas.mismatch(each, wanted) for each in offered)
        if reason := next(filter(None, reasons), ""):
            message = f"{reference}: {reason}."
            problems.add("plan.type_mismatch", message, path, step=step.id)
        elif reference.optional and "null" not in (schemas.types(wanted) or {"null"}):
            code = "plan.reference_may_be_null"
            message = (
                f"{reference} may be null, which {action.name} does not accept here."
            )
            problems.add(code, message, path, step=step.id, severity=WARNING)


class Unknown:
    """A placeholder for a value that only the run will know."""

    def __repr__(self) -> str:
        return "…"


class UnknownText(str):
    """A placeholder for a text of which only the run will know the whole."""

    __slots__ = ()


class _Unknowns:
    """Replaces references by known inputs or placeholders."""

    def __init__(self, inputs: Mapping[str, Any] | None) -> None:
        self._known = {"inputs"} if inputs is not None else set()
        self._scope = Scope(inputs or {}, {})

    def replaced(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._text(value) if "$" in value else value
        if isinstance(value, Mapping):
            return {key: self.replaced(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.replaced(item) for item in value]
        return value

    def _text(self, text: str) -> Any:
        inside = list(references.find(text))
        if all(reference.head in self._known for reference in inside):
            try:
                return references.resolve(text, self._scope)
            except Refusal:
                return Unknown()
        return Unknown() if inside[0].whole else UnknownText(text)


def holds_unknown(value: Any) -> bool:
    """Return True if a value contains a placeholder."""
    if isinstance(value, Mapping):
        return any(holds_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(holds_unknown(item) for item in value)
    return isinstance(value, Unknown | UnknownText)


def certain(error: ValidationError) -> bool:
    """Return True if an error holds regardless of the unknown values."""
    if isinstance(error.instance, Unknown):
        return False
    if {"then", "else"} & set(error.absolute_schema_path):
        # Which branch applies may depend on an unknown value.
        return False
    if not holds_unknown(error.instance) or error.validator in _SURE:
        return True
    return error.validator in {"anyOf", "oneOf"} and _no_branch(error)


def _no_branch(error: ValidationError) -> bool:
    """Return True if every alternative fails for certain."""
    branches: dict[Any, bool] = {}
    for inner in error.context or ():
        branch = inner.relative_schema_path[0]
        branches[branch] = branches.get(branch, False) or certain(inner)
    return bool(branches) and all(branches.values())


def _sentences(
    error: ValidationError, action: ActionContract
) -> Iterator[tuple[str, Path]]:
    """Return sentences about an error, each with its path in the parameters."""
    path = tuple(error.absolute_path)
    inside = ".".join(str(part) for part in path)
    prefix = f"{inside}: " if inside else ""
    schema: Any = error.schema
    is_closed = error.validator == "additionalProperties" and not error.validator_value
    if is_closed and "patternProperties" not in schema:
        known = list(schema.get("properties", {}))
        names = error.instance if isinstance(error.instance, Mapping) else ()
        for name in names:
            if name not in known:
                hint = near(name, known)
                message = f"{prefix}{action.name} has no parameter {name!r}.{hint}"
                yield message, (*path, name)
        return
    message = schemas.message_of(error)
    yield f"{prefix}{message.replace('is a required property', 'is missing')}.", path
