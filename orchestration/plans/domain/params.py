"""Check the parameters of a step against its action's schema before they are known.

A reference is replaced by a value that only the run will know. What is certain regardless
of that value (a missing parameter, a wrong type) is reported now. The rest is checked
by the run, when it releases the step and again at dispatch.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from execfabric.lib.refusal import Refusal
from execfabric.lib.schema import linear_validator
from orchestration.plans.domain import iteration, references, schemas, scoping
from orchestration.plans.domain.context import StepPart, closed_schema
from orchestration.plans.domain.inputs import defaults_of, file_inputs
from orchestration.plans.domain.naming import near
from orchestration.plans.domain.problem import WARNING, Path
from orchestration.plans.domain.references import Reference, Scope
from orchestration.plans.domain.subplans import Subplan
from orchestration.skills.domain.contract import ActionContract

_SURE = frozenset(
    {
        "required", "additionalProperties", "unevaluatedProperties", "propertyNames",
        "dependentRequired", "minProperties", "maxProperties", "minItems", "maxItems",
        "type",
    }
)  # fmt: skip
"""Keywords about an object or list itself, regardless of its unknown parts."""


@dataclass(frozen=True)
class Receiver:
    """What takes values with references: an action, or a saved plan."""

    name: str
    schema: Mapping[str, Any]
    validator: Draft202012Validator
    code: str = "plan.param_invalid"
    value: str = "parameter"
    """What it calls a value."""


def check(
    part: StepPart, params: Mapping[str, Any], action: ActionContract | None
) -> None:
    """Report each problem of the parameters that is already certain."""
    found = scoping.check(part, params)
    if action is not None:
        receiver = Receiver(action.name, action.input_schema, action.input_validator)
        check_values(part, params, receiver, found)


def check_subplan(part: StepPart, subplan: Subplan | None) -> None:
    """Report each problem of the inputs of a plan step that is already certain."""
    inputs = part.step.inputs
    found = scoping.check(part, inputs)
    if subplan is None:
        return
    schema = closed_schema(subplan.saved.document)
    receiver = Receiver(
        subplan.saved.slug,
        schema,
        linear_validator(schema),
        "plan.subplan_input_invalid",
        "input",
    )
    check_values(part, defaults_of(schema) | inputs, receiver, found)


def check_values(
    part: StepPart,
    values: Mapping[str, Any],
    receiver: Receiver,
    found: Sequence[Reference],
) -> None:
    """Report each problem of values that is already certain; `found` are references."""
    names: Mapping[str, Any] = {}
    for case, names in iteration.known_cases(part):
        value = _foreseen(values, part.plan.inputs, names)
        if _check_value(part, value, receiver, case):
            break
    for reference in found:
        if reference.head in names:
            continue  # its value was checked
        if part.is_item(reference) or (not reference.broken and reference.path):
            _check_type(part, reference, receiver)


def _check_value(part: StepPart, value: Any, receiver: Receiver, case: str) -> bool:
    """Report what is wrong with the values of a step, or of one of its items."""
    errors, unusable = schemas.errors(receiver.validator, value)
    if unusable:
        message = f"The input schema of {receiver.name} cannot be used: {unusable}."
        part.note(receiver.code, message)
    has_unknown = bool(errors) and holds_unknown(value)
    sure = [error for error in errors if not has_unknown or certain(error)]
    for error in sure:
        for message, path in _sentences(error, receiver):
            part.note(receiver.code, f"{case}{message}", path)
    return bool(sure or unusable)


def _check_type(part: StepPart, reference: Reference, receiver: Receiver) -> None:
    if not reference.whole:
        if _is_file(part, reference):
            message = f"{reference} is a file, so it cannot be part of a text."
            part.note("plan.type_mismatch", message, reference.where)
        return
    wanted = schemas.within(receiver.schema, reference.where) or {}
    if not schemas.types(wanted):
        return  # it accepts any type
    offered = part.schemas_of(reference)
    reasons = (schemas.mismatch(each, wanted) for each in offered)
    if reason := next(filter(None, reasons), ""):
        message = f"{reference}: {reason}."
        part.note("plan.type_mismatch", message, reference.where)
    elif reference.optional and "null" not in schemas.types(wanted):
        code = "plan.reference_may_be_null"
        message = (
            f"{reference} may be null, which {receiver.name} does not accept here."
        )
        part.note(code, message, reference.where, severity=WARNING)


def _is_file(part: StepPart, reference: Reference) -> bool:
    if part.is_item(reference):
        return False
    if reference.head == "inputs":
        return reference.path[0] in file_inputs(part.plan.document.inputs_schema)
    return reference.path[0] == "files" and reference.head != "run"


class UnknownValue:
    """A placeholder for a value that only the run will know."""

    def __repr__(self) -> str:
        return "…"


class UnknownText(str):
    """A placeholder for a text that is complete only during the run."""

    __slots__ = ()


def _foreseen(
    params: Mapping[str, Any],
    inputs: Mapping[str, Any] | None,
    item: Mapping[str, Any],
) -> Any:
    """Return parameters with known inputs and item, and placeholders for the rest."""
    known = {*item, *(("inputs",) if inputs is not None else ())}

    def foreseen(text: str) -> Any:
        inside = references.in_text(text)
        if all(reference.head in known for reference in inside):
            try:
                return references.resolve(text, Scope(inputs or {}, {}, item=item))
            except Refusal:
                return UnknownValue()
        return UnknownValue() if inside[0].whole else UnknownText(text)

    return references.mapped(params, foreseen)


def holds_unknown(value: Any) -> bool:
    parts = (part for _, part in references.walk(value))
    return any(isinstance(part, UnknownValue | UnknownText) for part in parts)


def certain(error: ValidationError) -> bool:
    """Return True if an error holds regardless of the unknown values."""
    if isinstance(error.instance, UnknownValue):
        return False
    if {"then", "else"} & set(error.absolute_schema_path):
        # Which branch applies may depend on an unknown value.
        return False
    if not holds_unknown(error.instance) or error.validator in _SURE:
        return True
    return error.validator in {"anyOf", "oneOf"} and _no_branch(error)


def _no_branch(error: ValidationError) -> bool:
    branches: dict[Any, bool] = {}
    for inner in error.context or ():
        branch = inner.relative_schema_path[0]
        branches[branch] = branches.get(branch, False) or certain(inner)
    return bool(branches) and all(branches.values())


def _sentences(
    error: ValidationError, receiver: Receiver
) -> Iterator[tuple[str, Path]]:
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
                no = f"{receiver.name} has no {receiver.value} {name!r}.{hint}"
                message = f"{prefix}{no}"
                yield message, (*path, name)
        return
    message = schemas.message_of(error)
    yield f"{prefix}{message.replace('is a required property', 'is missing')}.", path
