"""Check the concurrency keys of a plan and of its steps."""

from collections.abc import Iterable, Mapping
from typing import Any

from execfabric.lib.refusal import Refusal
from orchestration.plans.domain import concurrency, references, schemas, scoping
from orchestration.plans.domain.context import PlanContext, StepPart
from orchestration.plans.domain.problem import Path
from orchestration.plans.domain.references import Reference, Scope
from orchestration.plans.domain.subplans import Subplan

_NO_TEXT = frozenset({"object", "array", "null"})


def check_step(part: StepPart) -> None:
    """Report every problem with the key of a step; `part` is its `concurrency`."""
    wanted = part.step.concurrency
    if wanted is None:
        return
    if part.plan.document.concurrency is not None:
        message = (
            "A plan with concurrency cannot have steps with concurrency: two of its runs"
            " could wait for each other for ever. Remove one of them."
        )
        part.note("plan.concurrency_nested", message)
    inside = part.within("key")
    scoping.check(inside, wanted.key)
    for reference in filter(part.is_resolvable, references.find(wanted.key)):
        if reason := _wrong_type(reference, part.schemas_of(reference)):
            inside.note("plan.type_mismatch", reason)


def _wrong_type(reference: Reference, offers: Iterable[Mapping[str, Any]]) -> str:
    """Return why a value cannot be a part of a key; empty if it may."""
    for known in map(schemas.types, offers):
        if known and known <= _NO_TEXT:
            kinds = " or ".join(sorted(known))
            return f"{reference}: type {kinds}, but a text is required here."
    return ""


def check_plan(plan: PlanContext, root: Path) -> None:
    """Report every problem with the key of a plan, which inputs alone decide."""
    wanted = plan.document.concurrency
    for key, subplan in plan.subplans.items():
        if reason := _nested(subplan, is_limited=wanted is not None):
            step = plan.document.by_id[key]
            at = (*root, "steps", step.index, "plan")
            plan.problems.add("plan.concurrency_nested", reason, at, step=key)
    if wanted is None:
        return
    path = (*root, "concurrency", "key")
    found = [_wrong(plan, each) for each in references.find(wanted.key)]
    for code, message in filter(None, found):
        plan.problems.add(code, message, path)
    if any(found) or plan.inputs is None:
        return
    if reason := unusable(wanted, plan.inputs):
        plan.problems.add("plan.concurrency_key", f"The key {reason}.", path)


def _nested(subplan: Subplan, *, is_limited: bool) -> str:
    """Return why a saved plan cannot be a sub-plan; empty if it can.

    It takes no place of its own, and its steps must not wait while the run holds one.
    """
    document = subplan.saved.document
    if document.concurrency is not None:
        return (
            f"{document.id} has concurrency, so it cannot be a sub-plan. Give its steps"
            " concurrency instead."
        )
    if is_limited and any(step.concurrency for step in document.steps):
        return (
            f"A plan with concurrency cannot have steps with concurrency, as {document.id}"
            " has."
        )
    inner = (
        _nested(each, is_limited=is_limited)
        for each in subplan.checked.subplans.values()
    )
    return next(filter(None, inner), "")


def _wrong(plan: PlanContext, reference: Reference) -> tuple[str, str] | None:
    if reference.head != "inputs" or reference.broken:
        message = f"{reference}: the key of a plan can name inputs only."
        return "plan.reference_unknown", message
    if wrong := scoping.wrong_input(reference, plan.document):
        return wrong
    message = _wrong_type(reference, [plan.input_schema(reference.path)])
    return ("plan.type_mismatch", message) if message else None


def unusable(wanted: concurrency.ConcurrencyDocument, inputs: Mapping[str, Any]) -> str:
    """Return why the inputs give no key; empty if they do."""
    try:
        return concurrency.flaw(concurrency.resolved(wanted, Scope(inputs, {})))
    except Refusal as error:
        return f"has no value. {error.message.rstrip('.')}"
