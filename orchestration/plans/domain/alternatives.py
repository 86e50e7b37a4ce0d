"""Check the fallback of a step: its parameters, and whether its output fits."""

from orchestration.plans.domain import fallbacks, params, schemas
from orchestration.plans.domain.context import StepPart
from orchestration.plans.domain.problem import WARNING


def check(part: StepPart) -> None:
    """Report every problem with a fallback; `part` is its place in the step."""
    step, fallback = part.step, part.step.fallback
    if fallback is None:
        return
    if len(step.id) > fallbacks.MAX_ID:
        message = (
            f"The id of a step with a fallback is too long (max {fallbacks.MAX_ID}"
            " characters). Choose a shorter id."
        )
        part.note("plan.id_too_long", message)
    key = fallbacks.key_of(step.id)
    action = part.plan.action(key)
    params.check(part.within("params"), fallback.params, action)
    if action is not None:
        _check_output(part, key)


def _check_output(part: StepPart, key: str) -> None:
    """Warn if the output of a fallback cannot be used like that of its step.

    A reference to what only one of them has is an error where it is written.
    """
    offered, wanted = (part.plan.output_schema(one) for one in (key, part.step.id))
    if reason := schemas.mismatch(offered, wanted):
        message = (
            f"The output of the fallback differs from that of {part.step.id}: {reason}."
        )
        part.note("plan.fallback_output", message, ("action",), severity=WARNING)
