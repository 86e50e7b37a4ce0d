"""Steps that run once for each item of a list: `forEach` and the keys that go with it."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, WithJsonSchema, WrapValidator
from pydantic_core import PydanticCustomError

from execfabric.lib.refusal import Refusal
from execfabric.lib.schema import type_of
from orchestration.plans.domain import references, schemas
from orchestration.plans.domain.joins import AtLeast, named_or_at_least
from orchestration.plans.domain.joins import schema_of as joins_schema
from orchestration.plans.domain.references import INDEX, RESERVED

if TYPE_CHECKING:
    from orchestration.plans.domain.context import StepPart
    from orchestration.plans.domain.document import StepDocument

MAX_ITEMS = 1_000
"""Items of one list."""
CHECKED = 20
"""Items whose parameters validation checks; the run checks all of them."""
ITEM_KEYS = ("as", "max", "join", "onItemError")
"""The keys that need forEach."""
DEFAULT_NAME = "item"
UNKNOWN = "plan.reference_unknown"
INVALID = "plan.for_each_invalid"
JOINS = ("all", "any")
OnItemError = Literal["stop", "continue"]


def _list(value: Any) -> Any:
    if isinstance(value, str):
        found = [*references.find(value)]
        if len(found) == 1 and found[0].whole:
            return value
        raise PydanticCustomError(
            INVALID, "must be a list or a reference to one, such as $inputs.ports"
        )
    if not isinstance(value, list | tuple):
        raise PydanticCustomError(INVALID, "must be a list or a reference to one")
    if len(value) > MAX_ITEMS:
        message = f"has {len(value):,} items (max {MAX_ITEMS:,})"
        raise PydanticCustomError("plan.too_many_items", message)
    return list(value)


def _name(value: str) -> str:
    if value != DEFAULT_NAME and value in RESERVED | {INDEX, references.FIRST}:
        message = "is a reserved word. Choose another name"
        raise PydanticCustomError("plan.reserved_id", message)
    return value


_NAME = r"^[A-Za-z][A-Za-z0-9_]{0,99}$"
ItemList = Annotated[
    list[Any] | str,
    WrapValidator(lambda value, _: _list(value)),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "maxItems": MAX_ITEMS},
                {"type": "string", "pattern": r"^\$"},
            ]
        }
    ),
]
ItemName = Annotated[str, Field(pattern=_NAME), AfterValidator(_name)]
ItemJoin = Annotated[
    Literal["all", "any"] | AtLeast, named_or_at_least(JOINS), joins_schema(JOINS)
]


def names_of(step: "StepDocument") -> tuple[str, ...]:
    """Return the names of an item in a step: of its value and of its index."""
    return (step.item_name, INDEX) if step.for_each is not None else ()


def check(part: "StepPart") -> None:
    """Report each problem of the keys of a step with forEach, not of its references."""
    step, document = part.step, part.plan.document
    if step.for_each is None:
        return
    for key, name in zip(("as", "forEach"), names_of(step), strict=True):
        if name in document.by_id:
            message = f"${name} is both the item and the step {name!r}. Rename one."
            part.note("plan.item_name_taken", message, (key,))
    if step.at_once is not None and document.parallel is None:
        message = (
            "max needs a plan with parallel: otherwise the items run one after another."
        )
        part.note("plan.max_not_parallel", message, ("max",))
    if reason := _no_list(part):
        part.note(INVALID, f"{step.for_each}: {reason}.", ("forEach",))
    if isinstance(step.join, AtLeast) and isinstance(step.for_each, list):
        count = len(step.for_each)
        if step.join.at_least > count:
            message = f"{step.join.at_least} items must succeed, but there are {count}."
            part.note("plan.join_unsatisfiable", message, ("join",))


def _no_list(part: "StepPart") -> str:
    """Return why the value of a reference is never a list; empty if it may be one."""
    if isinstance(part.step.for_each, list):
        return ""
    for reference in references.find(part.step.for_each):
        offers = part.schemas_of(reference) if part.is_resolvable(reference) else ()
        for schema in offers:
            known = schemas.types(schema)
            if known and "array" not in known:
                return f"type {' or '.join(sorted(known))}, but a list is required here"
    return ""


def item_schema(part: "StepPart") -> Mapping[str, Any]:
    """Return the schema of an item; {} if it may be anything."""
    listed = part.step.for_each
    if isinstance(listed, list):
        return _schema_of(listed)
    for reference in references.find(listed):
        if part.is_resolvable(reference):
            offers = [each.get("items") for each in part.schemas_of(reference)]
            if len(offers) == 1 and isinstance(offers[0], Mapping):
                return offers[0]
    return {}


def schema_of(part: "StepPart", reference: references.Reference) -> Mapping[str, Any]:
    """Return the schema of a valid reference to the item or its index."""
    if reference.head == INDEX:
        return {"type": "integer"}
    return schemas.within(item_schema(part), reference.path) or {}


def _schema_of(values: Sequence[Any]) -> Mapping[str, Any]:
    """Return a schema that all these values match; {} if only the run knows them."""
    if not values or any(isinstance(each, str) and "$" in each for each in values):
        return {}
    schema: dict[str, Any] = {"type": sorted({type_of(each) for each in values})}
    objects = [each for each in values if isinstance(each, Mapping)]
    if objects:
        schema["properties"] = {
            name: _schema_of([each[name] for each in objects if name in each])
            for name in dict.fromkeys(name for each in objects for name in each)
        }
        schema["required"] = [
            name for name in schema["properties"] if all(name in o for o in objects)
        ]
        schema["additionalProperties"] = False
    return schema


def wrong(part: "StepPart", reference: references.Reference) -> tuple[str, str] | None:
    """Return what is wrong with a reference to the item; None if it is valid."""
    if reference.head == INDEX:
        message = f"{reference}: $index is a number and has no fields."
        return (UNKNOWN, message) if reference.path else None
    if schemas.within(item_schema(part), reference.path) is None:
        return UNKNOWN, f"{reference}: the item has no such field."
    return _missing(part.step, reference)


def _missing(
    step: "StepDocument", reference: references.Reference
) -> tuple[str, str] | None:
    """Return a problem if an item of a literal list lacks the field."""
    if reference.optional or not isinstance(step.for_each, list):
        return None
    for index, item in enumerate(step.for_each):
        if _lacks(item, reference.path):
            return UNKNOWN, f"{reference}: item {index} of the list has no such field."
    return None


def _lacks(value: Any, path: Sequence[str]) -> bool:
    for part in path:
        if isinstance(value, str) and "$" in value:
            return False
        value = references.into(value, part)
        if value is references.ABSENT:
            return True
    return False


def hint(steps: Iterable["StepDocument"], name: str) -> str:
    """Return where a name exists, if it is the name of an item elsewhere."""
    for each in steps:
        if name in names_of(each):
            return f" ${name} exists only in the params of step {each.id}."
    return ""


def output_schema(step: "StepDocument", item: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the schema of the output of a step with forEach."""
    always = step.join == "all" and not step.when
    return {
        "type": "object",
        "additionalProperties": False,
        "required": ["items", "count", "succeeded", "failed"],
        "properties": {
            "items": {"type": "array", "items": item if always else _or_null(item)},
            "count": {"type": "integer"},
            "succeeded": {"type": "integer"},
            "failed": {"type": "array", "items": {"type": "integer"}},
        },
    }


def _or_null(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    known = schemas.types(schema)
    return {**schema, "type": sorted(known | {"null"})} if known else {}


def output_of(outputs: Sequence[Any], failed: Sequence[int]) -> dict[str, Any]:
    """Return the output of a step with items; those without an output have None."""
    return {
        "items": [*outputs],
        "count": len(outputs),
        "succeeded": sum(each is not None for each in outputs),
        "failed": [*failed],
    }


def known_items(
    step: "StepDocument", inputs: Mapping[str, Any] | None
) -> list[Any] | None:
    """Return the items if the plan and its inputs determine them; else None."""
    heads = {reference.head for reference in references.find(step.for_each)}
    if heads and (inputs is None or heads != {"inputs"}):
        return None
    try:
        scope = references.Scope(inputs or {}, {})
        items = references.resolve(step.for_each, scope)
    except Refusal:
        return None
    return items if isinstance(items, list) else None


def known_cases(part: "StepPart") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Return the first items that are known, each with a prefix for messages.

    A step without known items is one case without names.
    """
    step = part.step
    items = known_items(step, part.plan.inputs) if step.for_each is not None else None
    if not items:
        yield "", {}
        return
    for index, item in enumerate(items[:CHECKED]):
        yield f"Item {index}: ", dict(zip(names_of(step), (item, index), strict=True))


def summary(step: "StepDocument", inputs: Mapping[str, Any] | None = None) -> str:
    """Describe how often a step runs, as known before the run."""
    items = known_items(step, inputs)
    if items is None:
        return f"once for each item of {step.for_each}"
    return f"once for each of {len(items)} items"


def facts(step: "StepDocument", inputs: Mapping[str, Any] | None) -> dict[str, Any]:
    """Describe the list of a step for its approver, and its length if it is known."""
    items = known_items(step, inputs)
    return {
        "list": step.for_each,
        "as": step.item_name,
        "count": None if items is None else len(items),
        "max": step.at_once,
        "join": str(step.join),
        "on_item_error": step.on_item_error,
    }
