"""The declared outputs of a plan: what a run of it returns, checked and described.

They are resolved when every step has ended and none has failed, so each step has an
output then, unless a condition may skip it.
"""

from collections.abc import Mapping
from typing import Any

from execfabric.lib.schema import type_of
from orchestration.plans.domain import references, scoping
from orchestration.plans.domain.context import PlanContext
from orchestration.plans.domain.fields import OUTPUT_NAME
from orchestration.plans.domain.naming import near
from orchestration.plans.domain.problem import Path
from orchestration.plans.domain.references import SELF, Reference

MAX_OUTPUTS = 100
_STEP_ONLY = frozenset({SELF, "item"})


def check(plan: PlanContext, path: Path) -> None:
    """Report every invalid name and reference of the outputs."""
    outputs = plan.document.outputs
    if len(outputs) > MAX_OUTPUTS:
        message = f"Too many outputs: {len(outputs):,} (max {MAX_OUTPUTS})."
        plan.problems.add("plan.output_invalid", message, path)
    for name, value in outputs.items():
        if not OUTPUT_NAME.fullmatch(name):
            message = (
                f"Invalid output {name!r}. Use letters, digits, - and _ starting with a"
                " letter, at most 100."
            )
            plan.problems.add("plan.output_invalid", message, (*path, name))
        for reference in references.find(value):
            if wrong := _wrong(plan, reference):
                plan.problems.add(*wrong, (*path, name, *reference.where))


def schema_of(plan: PlanContext) -> dict[str, Any]:
    """Return the schema of the output of a run of the plan."""
    outputs = plan.document.outputs
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [*outputs],
        "properties": {name: _schema(plan, value) for name, value in outputs.items()},
    }


def _wrong(plan: PlanContext, reference: Reference) -> scoping.Wrong:
    if reference.head in _STEP_ONLY or plan.is_first(reference):
        message = f"{reference} exists in a step only. Name a step, as in $step.output."
        return scoping.UNKNOWN, message
    if reference.broken or reference.step is None:
        return scoping.wrong_outside_steps(reference, plan.document)
    known = plan.document.by_id
    if reference.head not in known:
        hint = near(reference.head, known)
        message = f"{reference}: unknown step {reference.head!r}.{hint}"
        return scoping.UNKNOWN, f"{message} {scoping.DOLLAR}"
    if plan.ancestry.may_be_skipped(reference.head) and not reference.optional:
        message = (
            f"{reference}: a condition may skip {reference.head}, so it may have no"
            f" output. Write {scoping.optional_form(reference)} to get null instead."
        )
        return "plan.reference_may_be_absent", message
    return scoping.wrong_paths(reference.head, reference, plan)


def _schema(plan: PlanContext, value: Any) -> Mapping[str, Any]:
    found = [*references.find(value)]
    if not found:
        return {"type": type_of(value)}
    if found[0].where or found[0].optional:
        return {}
    if not found[0].whole:
        return {"type": "string"}
    # A fallback may have another output than its step.
    has_fallback = len(plan.sources(found[0].head)) > 1
    return {} if has_fallback else plan.schema_of(found[0])
