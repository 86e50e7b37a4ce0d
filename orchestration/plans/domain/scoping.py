"""Check that references are in scope and resolve."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from orchestration.plans.domain import references, schemas
from orchestration.plans.domain.document import PlanDocument, StepDocument
from orchestration.plans.domain.naming import near
from orchestration.plans.domain.params import Around
from orchestration.plans.domain.problem import WARNING, Path, Problems
from orchestration.plans.domain.references import SELF, Reference

UNKNOWN = "plan.reference_unknown"
FIRST_RULE = "one_success"
"""The rule of joins that one parent starts."""
RESERVED_KEYS = {
    "$file": (
        "plan.reserved_key",
        "A file cannot be named by its digest. Use a reference instead.",
    ),
    "$secret": (
        "plan.param_invalid",
        "A plan cannot name a secret. The skill's configuration names it.",
    ),
}
DOLLAR = "For a dollar sign write $$."
Wrong = tuple[str, str] | None
"""A code and a sentence, or None if the reference is right."""


def check(
    step: StepDocument,
    value: Any,
    around: Around,
    problems: Problems,
    at: Path,
    *,
    undo: bool = False,
) -> None:
    """Note every reference in a value that does not resolve, and every reserved key.

    In an undo, `$self` and the step's own id name the step being undone.
    """
    for reference in references.find(value):
        path = (*at, *reference.where)
        if wrong := _wrong(step, reference, around, undo=undo):
            problems.add(*wrong, path, step=step.id)
        elif _may_be_absent(reference, around.document):
            code = "plan.reference_optional"
            message = (
                f"{reference} may be absent: it is not required and has no default."
            )
            problems.add(code, message, path, step=step.id, severity=WARNING)
    for path in reserved_keys(value):
        problems.add(*RESERVED_KEYS[str(path[-1])], (*at, *path), step=step.id)


def reserved_keys(value: Any, where: Path = ()) -> Iterator[Path]:
    """Walk the keys that only the engine and configurations may use."""
    items: Iterable[tuple[str | int, Any]] = ()
    if isinstance(value, Mapping):
        yield from ((*where, key) for key in value if key in RESERVED_KEYS)
        items = value.items()
    elif isinstance(value, list | tuple):
        items = enumerate(value)
    for key, item in items:
        yield from reserved_keys(item, (*where, key))


def _wrong(
    step: StepDocument, reference: Reference, around: Around, *, undo: bool
) -> Wrong:
    if reference.broken:
        return UNKNOWN, f"{reference} is not a valid reference. {DOLLAR}"
    if reference.head == "inputs":
        return _wrong_input(reference, around.document)
    if reference.head == "run":
        message = f"Unknown reference {reference}. Of the run, only $run.id exists."
        return None if reference.path == ("id",) else (UNKNOWN, message)
    if around.is_first(reference):
        return _wrong_first(step, reference, around, undo=undo)
    if reference.head == SELF and not undo:
        return UNKNOWN, "$self is the step being undone, so it exists in rollback only."
    name = step.id if reference.head == SELF else reference.head
    return _wrong_step(step, name, reference, around, undo=undo) or (
        _wrong_params(reference, step)
        if reference.head == SELF and reference.path[:1] == ("params",)
        else _wrong_path(name, reference, around)
    )


def _wrong_step(
    step: StepDocument, name: str, reference: Reference, around: Around, *, undo: bool
) -> Wrong:
    if not around.document.has(name):
        hint = near(name, around.document.by_id())
        return UNKNOWN, f"{reference}: unknown step {name!r}.{hint} {DOLLAR}"
    if name == step.id:
        message = f"{reference} refers to the step itself."
        return None if undo else ("plan.self_reference", message)
    if not around.ancestry.precedes(name, step.id):
        message = f"{reference}: {name} may run after {step.id}. Add it to dependsOn."
        return "plan.reference_not_ancestor", message
    if not reference.optional and not around.ancestry.succeeded(name, step.id):
        return "plan.reference_may_be_absent", _may_have_none(step, name, reference)
    return None


def _may_have_none(step: StepDocument, name: str, reference: Reference) -> str:
    plain = str(reference)
    optional = f"{plain}?" if reference.whole else f"${{{plain[1:]}?}}"
    message = (
        f"{plain}: {name} may not have succeeded when {step.id} starts, so it may have"
        f" no output. Write {optional} to get null instead"
    )
    if step.trigger_rule == FIRST_RULE and name in step.depends_on:
        message += ", or $first for the dependency that succeeded first"
    return f"{message}."


def _wrong_first(
    step: StepDocument, reference: Reference, around: Around, *, undo: bool
) -> Wrong:
    if undo or step.trigger_rule != FIRST_RULE:
        message = f"{reference}: $first needs a step with triggerRule {FIRST_RULE}."
        return UNKNOWN, message
    if reference.path == ("id",):
        return None
    each = (_wrong_path(key, reference, around) for key in around.parents(step))
    return next((wrong for wrong in each if wrong), None)


def _wrong_input(reference: Reference, document: PlanDocument) -> Wrong:
    declared = document.inputs_schema or {}
    known = declared.get("properties") or {}
    if not reference.path:
        return UNKNOWN, f"{reference}: name one of the inputs, as in $inputs.month."
    name = reference.path[0]
    if name not in known:
        return UNKNOWN, f"{reference}: unknown input {name!r}.{near(name, known)}"
    if schemas.within(declared, reference.path) is None:
        return UNKNOWN, f"{reference}: the input has no such field."
    return None


def _may_be_absent(reference: Reference, document: PlanDocument) -> bool:
    if reference.head != "inputs" or reference.optional:
        return False
    declared, name = document.inputs_schema or {}, reference.path[0]
    schema = declared.get("properties", {})[name]
    has_default = isinstance(schema, Mapping) and "default" in schema
    return name not in declared.get("required", ()) and not has_default


def _wrong_params(reference: Reference, step: StepDocument) -> Wrong:
    if len(reference.path) > 1 and reference.path[1] not in step.params:
        hint = near(reference.path[1], step.params)
        return UNKNOWN, f"{reference}: the step has no such parameter.{hint}"
    return None


def _wrong_path(name: str, reference: Reference, around: Around) -> Wrong:
    kind, path = (reference.path or ("",))[0], reference.path[1:]
    if kind == "files":
        action = around.action(name)
        known = action.files if action else path
        message = f"{reference}: the files of {name} are: {', '.join(known) or 'none'}."
        return None if path and path[0] in known else (UNKNOWN, message)
    if kind != "output":
        return UNKNOWN, f"{reference}: write ${name}.output or ${name}.files. {DOLLAR}"
    output = around.output_schema(name)
    if schemas.within(output, path) is None:
        hint = near(path[0], output.get("properties") or {})
        return UNKNOWN, f"{reference}: the output of {name} has no such field.{hint}"
    return None
