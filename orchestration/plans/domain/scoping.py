"""Check that references are in scope and resolve."""

from collections.abc import Mapping
from typing import Any

from orchestration.plans.domain import iteration, references, schemas
from orchestration.plans.domain.context import PlanContext, StepPart
from orchestration.plans.domain.document import PlanDocument, StepDocument
from orchestration.plans.domain.fallbacks import is_fallback, owner_of
from orchestration.plans.domain.naming import near
from orchestration.plans.domain.problem import WARNING
from orchestration.plans.domain.references import SELF, Reference

UNKNOWN = "plan.reference_unknown"
FIRST_RULE = "one_success"
"""The rule of joins that one parent starts."""
RESERVED_KEYS = {  # only the engine and configurations may use them
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
"""A code and a sentence, or None if the reference is valid."""


def check(part: StepPart, value: Any) -> list[Reference]:
    """Report each unresolved reference and each reserved key in a value.

    Return all its references.
    """
    found: list[Reference] = []
    for path, item in references.walk(value):
        if path and path[-1] in RESERVED_KEYS:
            part.note(*RESERVED_KEYS[str(path[-1])], path)
        if isinstance(item, str) and "$" in item:
            found += references.in_text(item, path)
    for reference in found:
        if wrong := _wrong(part, reference):
            part.note(*wrong, reference.where)
        elif _may_be_absent(reference, part.plan.document):
            code = "plan.reference_optional"
            message = (
                f"{reference} may be absent: it is not required and has no default."
            )
            part.note(code, message, reference.where, severity=WARNING)
    return found


def _wrong(part: StepPart, reference: Reference) -> Wrong:
    if part.is_item(reference):
        return iteration.wrong(part, reference)
    if reference.broken or reference.head in {"inputs", "run"}:
        return wrong_outside_steps(reference, part.plan.document)
    if part.plan.is_first(reference):
        return _wrong_first(part, reference)
    return _wrong_of_step(part, reference)


def _wrong_of_step(part: StepPart, reference: Reference) -> Wrong:
    if reference.head == SELF and not part.is_undo:
        return UNKNOWN, "$self is the step being undone, so it exists in rollback only."
    name = part.step.id if reference.head == SELF else reference.head
    return _wrong_step(part, name, reference) or (
        _wrong_params(reference, part.step)
        if reference.head == SELF and reference.path[:1] == ("params",)
        else wrong_paths(name, reference, part.plan)
    )


def wrong_outside_steps(reference: Reference, document: PlanDocument) -> Wrong:
    """Return what is wrong with a reference to an input or to the run."""
    if reference.broken:
        return UNKNOWN, f"{reference} is not a valid reference. {DOLLAR}"
    if reference.head == "inputs":
        return wrong_input(reference, document)
    message = (
        f"Unknown reference {reference}. The only reference to the run is $run.id."
    )
    return None if reference.path == ("id",) else (UNKNOWN, message)


def optional_form(reference: Reference) -> str:
    """Return a reference as it is written to get null for a missing value."""
    plain = str(reference)
    return f"{plain}?" if reference.whole else f"${{{plain[1:]}?}}"


def _wrong_step(part: StepPart, name: str, reference: Reference) -> Wrong:
    step, known, ancestry = part.step, part.plan.document.by_id, part.plan.ancestry
    if name not in known:
        elsewhere = iteration.hint(part.plan.document.steps, name)
        hint = elsewhere or f"{near(name, known)} {DOLLAR}"
        return UNKNOWN, f"{reference}: unknown step {name!r}.{hint}"
    if name == step.id:
        message = f"{reference} refers to the step itself."
        return None if part.is_undo else ("plan.self_reference", message)
    if not ancestry.precedes(name, step.id):
        message = f"{reference}: {name} may run after {step.id}. Add it to dependsOn."
        return "plan.reference_not_ancestor", message
    if not reference.optional and not ancestry.succeeded(name, step.id):
        return "plan.reference_may_be_absent", _may_have_none(step, name, reference)
    return None


def _may_have_none(step: StepDocument, name: str, reference: Reference) -> str:
    optional = optional_form(reference)
    message = (
        f"{reference}: {name} may not have succeeded when {step.id} starts, so it may have"
        f" no output. Write {optional} to get null instead"
    )
    if step.trigger_rule == FIRST_RULE and name in step.depends_on:
        message += ", or $first for the dependency that succeeded first"
    return f"{message}."


def _wrong_first(part: StepPart, reference: Reference) -> Wrong:
    if part.is_undo or part.step.trigger_rule != FIRST_RULE:
        message = f"{reference}: $first needs a step with triggerRule {FIRST_RULE}."
        return UNKNOWN, message
    if reference.path == ("id",):
        return None
    each = (wrong_paths(key, reference, part.plan) for key in part.parents())
    return next((wrong for wrong in each if wrong), None)


def wrong_input(reference: Reference, document: PlanDocument) -> Wrong:
    """Return what is wrong with a reference to an input."""
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


def wrong_paths(name: str, reference: Reference, plan: PlanContext) -> Wrong:
    """Check a path in the output of a step, and in that of its fallback."""
    each = (_wrong_path(key, reference, plan) for key in plan.sources(name))
    return next((wrong for wrong in each if wrong), None)


def _wrong_path(key: str, reference: Reference, plan: PlanContext) -> Wrong:
    kind, path = (reference.path or ("",))[0], reference.path[1:]
    if kind == "files":
        action = plan.action(key)
        known = action.files if action else path
        files = ", ".join(known) or "none"
        message = f"{reference}: the files of {_source(key)} are: {files}."
        return None if path and path[0] in known else (UNKNOWN, message)
    if kind != "output":
        name = owner_of(key)
        return UNKNOWN, f"{reference}: write ${name}.output or ${name}.files. {DOLLAR}"
    output = plan.output_schema(key)
    if schemas.within(output, path) is None:
        hint = near(path[0], output.get("properties") or {})
        message = f"{reference}: the output of {_source(key)} has no such field.{hint}"
        return UNKNOWN, message
    return None


def _source(key: str) -> str:
    name = owner_of(key)
    return f"the fallback of {name}" if is_fallback(key) else name
