"""Whether a reference may stand where it stands, and leads somewhere."""

from collections.abc import Mapping
from typing import Any

from orchestration.plans.domain import references, schemas
from orchestration.plans.domain.document import PlanDocument, StepDocument
from orchestration.plans.domain.naming import near
from orchestration.plans.domain.params import Around, Way
from orchestration.plans.domain.problem import WARNING, Problems
from orchestration.plans.domain.references import SELF, Reference

UNKNOWN = "plan.reference_unknown"
FIRST_RULE = "one_success"
"""The rule of joins that one parent starts."""
DOLLAR = "For a dollar sign write $$."


def check(
    step: StepDocument,
    value: Any,
    around: Around,
    problems: Problems,
    at: Way,
    *,
    undo: bool = False,
) -> None:
    """Note every reference in a value that leads nowhere, and every forged file.

    In an undo, `$self` and the step's own id name the step that is undone.
    """
    for found in references.find(value):
        wrong = _wrong(step, found, around, undo=undo)
        place = (*at, *found.where)
        if wrong is not None:
            problems.add(*wrong, place, step=step.id)
        elif (
            found.head == "inputs"
            and not found.optional
            and _may_be_absent(found, around.document)
        ):
            message = (
                f"{found} is neither required nor has a default; it may be absent."
            )
            problems.add(
                "plan.reference_optional",
                message,
                place,
                step=step.id,
                severity=WARNING,
            )
    for way in forged_files(value):
        message = "A file is named by a reference, never by its digest."
        problems.add("plan.reserved_key", message, (*at, *way), step=step.id)


def forged_files(value: Any, where: Way = ()) -> list[Way]:
    """Where a value claims to be a stored file, which only a step can yield."""
    found: list[Way] = []
    if isinstance(value, Mapping):
        if "$file" in value:
            found.append((*where, "$file"))
        for key, item in value.items():
            found += forged_files(item, (*where, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            found += forged_files(item, (*where, index))
    return found


def _wrong(
    step: StepDocument, found: Reference, around: Around, *, undo: bool
) -> tuple[str, str] | None:
    """What is wrong with a reference: code and sentence; None for nothing."""
    if found.broken:
        return UNKNOWN, f"{found} is no reference. {DOLLAR}"
    if found.head == "inputs":
        return _wrong_input(found, around.document)
    if found.head == "run":
        wrong = f"{found}: of the run only $run.id can be referred to."
        return None if found.path == ("id",) else (UNKNOWN, wrong)
    if around.is_first(found):
        return _wrong_first(step, found, around, undo=undo)
    if found.head == SELF and not undo:
        return UNKNOWN, "$self is the step that is undone; it exists in rollback only."
    name = step.id if found.head == SELF else found.head
    return _wrong_step(step, name, found, around, undo=undo) or (
        _wrong_params(found, step)
        if found.head == SELF and found.path[:1] == ("params",)
        else _wrong_way(name, found, around)
    )


def _wrong_step(
    step: StepDocument, name: str, found: Reference, around: Around, *, undo: bool
) -> tuple[str, str] | None:
    if not around.document.has(name):
        hint = near(name, [one.id for one in around.document.steps])
        return UNKNOWN, f"{found}: there is no step {name!r}.{hint} {DOLLAR}"
    if name == step.id:
        wrong = f"{found} refers to the step itself."
        return None if undo else ("plan.self_reference", wrong)
    if not around.ancestry.precedes(name, step.id):
        message = (
            f"{found}: {name} need not be done before {step.id}; add it to dependsOn."
        )
        return "plan.reference_not_ancestor", message
    if not found.optional and not around.ancestry.succeeded(name, step.id):
        return "plan.reference_may_be_absent", _may_have_none(step, name, found)
    return None


def _may_have_none(step: StepDocument, name: str, found: Reference) -> str:
    plain = str(found)
    optional = f"{plain}?" if found.whole else f"${{{plain[1:]}?}}"
    message = (
        f"{plain}: {name} need not have succeeded when {step.id} starts, so it may have"
        f" no output. Write {optional} to get null then"
    )
    if step.trigger_rule == FIRST_RULE and name in step.depends_on:
        message += ", or $first for the dependency that succeeded first"
    return f"{message}."


def _wrong_first(
    step: StepDocument, found: Reference, around: Around, *, undo: bool
) -> tuple[str, str] | None:
    if undo or step.trigger_rule != FIRST_RULE:
        wrong = f"{found}: $first exists only in a step with triggerRule {FIRST_RULE}."
        return UNKNOWN, wrong
    if found.path == ("id",):
        return None
    each = (_wrong_way(key, found, around) for key in around.parents(step))
    return next((wrong for wrong in each if wrong), None)


def _wrong_input(found: Reference, document: PlanDocument) -> tuple[str, str] | None:
    declared = document.inputs_schema or {}
    known = declared.get("properties") or {}
    if not found.path:
        return UNKNOWN, f"{found}: name one of the inputs, as in $inputs.month."
    if found.path[0] not in known:
        return (
            UNKNOWN,
            f"{found}: the plan has no such input.{near(found.path[0], known)}",
        )
    if schemas.within(declared, found.path) is None:
        return UNKNOWN, f"{found}: the input has no such field."
    return None


def _may_be_absent(found: Reference, document: PlanDocument) -> bool:
    declared = document.inputs_schema or {}
    name = found.path[0]
    given = declared.get("properties", {})[name]
    has_default = isinstance(given, Mapping) and "default" in given
    return name not in declared.get("required", ()) and not has_default


def _wrong_params(found: Reference, step: StepDocument) -> tuple[str, str] | None:
    if len(found.path) > 1 and found.path[1] not in step.params:
        hint = _near(found, step.params)
        return UNKNOWN, f"{found}: the step has no such param.{hint}"
    return None


def _wrong_way(name: str, found: Reference, around: Around) -> tuple[str, str] | None:
    kind, path = (found.path[0], found.path[1:]) if found.path else ("", ())
    if kind == "files":
        action = around.action(name)
        known = action.files if action else path
        names = ", ".join(known) or "none"
        wrong = f"{found}: {name} yields these files: {names}."
        return None if path and path[0] in known else (UNKNOWN, wrong)
    if kind != "output":
        return UNKNOWN, f"{found}: write ${name}.output or ${name}.files. {DOLLAR}"
    output = around.output_schema(name)
    if schemas.within(output, path) is None:
        hint = _near(found, output.get("properties") or {})
        return UNKNOWN, f"{found}: the output of {name} has no such field.{hint}"
    return None


def _near(found: Reference, known: Mapping[str, Any]) -> str:
    return near(found.path[1], known)
