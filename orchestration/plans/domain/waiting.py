"""Check the steps that wait for a time, an event or an answer."""

from dataclasses import dataclass, field, replace
from datetime import datetime

from orchestration.plans.domain import asking, references, schemas, scoping, waits
from orchestration.plans.domain.context import StepPart
from orchestration.plans.domain.document import StepDocument
from orchestration.plans.domain.long_waits import LongWait, WaitFinder, WaitKey
from orchestration.plans.domain.problem import ERROR, WARNING
from orchestration.plans.domain.references import Reference
from orchestration.plans.errors import WaitInvalid

_KEY_TYPES = frozenset({"string", "integer", "number"})
_TIMES = {
    "for": (_KEY_TYPES, "a duration such as 10m, or a number of seconds"),
    "until": (frozenset({"string"}), "a date and time such as 2026-03-01T06:00:00Z"),
}
"""The types that the value of a reference may have, and what it must be."""


@dataclass(frozen=True)
class WaitLimits:
    """When a plan is proposed and how long its approval is valid, if known."""

    at: datetime | None = None
    approval_s: float | None = None
    found: dict[WaitKey, LongWait] = field(default_factory=dict, compare=False)
    """The longest waits in saved plans, so that one check finds each once."""


UNLIMITED = WaitLimits()


def check(part: StepPart, limits: WaitLimits) -> None:
    """Report every problem with what a step waits for."""
    step = part.step
    if step.kind == "input":
        for sentence, path in asking.flaws(step):
            part.note(asking.FORM_INVALID, sentence, path)
    if step.kind == "wait":
        step = _checked_times(part)
        for code, message, below in waits.flaws(step, limits.at):
            severity = WARNING if code == "plan.wait_past" else ERROR
            part.note(code, message, below, severity=severity)
    _check_length(part, step, limits)
    if step.event is not None:
        key = replace(part, path=(*part.path, "event", "key"))
        scoping.check(key, step.event.key)
        if reference := _never(key, step.event.key, _KEY_TYPES):
            message = f"{reference} is not a text or a number, as the key must be."
            key.note("plan.wait_invalid", message)


def _checked_times(part: StepPart) -> StepDocument:
    """Check the references in the times of a wait; return it with the known values."""
    for key, written in waits.times_of(part.step).items():
        within = part.within(key)
        scoping.check(within, written)
        types, wanted = _TIMES[key]
        if reference := _never(within, written, types):
            within.note("plan.wait_invalid", f"{reference} is not {wanted}.")
    try:
        return waits.foreseen(part.step, part.plan.inputs)
    except WaitInvalid as error:
        part.note("plan.wait_invalid", error.message, (error.details["key"],))
        return part.step


def _check_length(part: StepPart, step: StepDocument, limits: WaitLimits) -> None:
    """Warn about a wait after which the approval of the plan is no longer valid."""
    valid_s = limits.approval_s
    if valid_s is None:
        return
    message = (
        f"The approval of the plan is valid for {waits.duration(valid_s)}. After a"
        " longer wait the run needs a new one before its next step starts."
    )
    for path, seconds in waits.longest(step, limits.at):
        if seconds > valid_s:
            part.note("plan.wait_outlives_approval", message, path, severity=WARNING)
    subplan = part.plan.subplans.get(step.id)
    if subplan is None:
        return
    is_parallel = part.plan.document.parallel is not None
    finder = WaitFinder(limits.at, is_parallel, limits.found)
    found = finder.inside(step, subplan, part.plan.inputs)
    if found.seconds > valid_s:
        turns = f" for {found.turns} items, one after another" * (found.turns > 1)
        where = f"Step {found.step!r} in it may wait {waits.duration(found.seconds)}"
        sentence = f"{where}{turns}. {message}"
        part.note("plan.wait_outlives_approval", sentence, ("plan",), severity=WARNING)


def _never(part: StepPart, text: str, allowed: frozenset[str]) -> Reference | None:
    """Return a reference that never has an allowed type."""
    for reference in references.find(text):
        if not reference.whole or not part.is_resolvable(reference):
            continue
        known = [schemas.types(schema) for schema in part.schemas_of(reference)]
        if any(types and not types & allowed for types in known):
            return reference
    return None
