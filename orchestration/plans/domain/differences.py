"""The differences between two revisions of a plan, by step."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from approvals.domain.policy import Rule
from execfabric.lib.risk import Risk, highest
from orchestration.plans.domain import fallbacks
from orchestration.plans.domain.catalog import CatalogEntry
from orchestration.plans.domain.document import (
    PlanDocument,
    StepDocument,
    normal_form,
)
from orchestration.plans.domain.gates import demand_of

UNKNOWN = "unknown"
"""The risk of an action that the reader may not see, or that does not exist."""
ORDER = "order of steps"
_WORD = re.compile(r"\w+")
_MISSING: Any = object()


class StepChange(StrEnum):
    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


@dataclass(frozen=True)
class FieldChange:
    """A value that differs; `before` or `after` is None where there is none."""

    field: str
    before: Any
    after: Any


@dataclass(frozen=True)
class GateFacts:
    """The approval that a step needs: its reasons and its approvers."""

    reasons: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.groups:
            return "none"
        return f"{' and '.join(self.groups)}: {' '.join(self.reasons)}"


@dataclass(frozen=True)
class ComparedStep:
    """A step as it is compared: its keys, and what policies and the registry add."""

    values: Mapping[str, Any]
    risk: str = ""
    """Empty for a step without an action."""
    gate: GateFacts = GateFacts()


@dataclass(frozen=True)
class ComparedPlan:
    """A revision as it is compared."""

    values: Mapping[str, Any]
    """The keys of the plan, without its steps."""
    steps: Mapping[str, ComparedStep]


@dataclass(frozen=True)
class StepDifference:
    """What differs in one step."""

    step: str
    change: StepChange
    fields: tuple[FieldChange, ...] = ()
    risk: FieldChange | None = None
    gate: FieldChange | None = None


@dataclass(frozen=True)
class PlanDifference:
    """What differs between two revisions."""

    plan: tuple[FieldChange, ...] = ()
    """Changed keys of the plan itself, and a changed order of its steps."""
    steps: tuple[StepDifference, ...] = field(default=())

    @property
    def is_empty(self) -> bool:
        return not self.plan and not self.steps


def compared(
    document: PlanDocument,
    entries: Mapping[str, CatalogEntry],
    rules: Sequence[Rule],
    inside: Mapping[str, "ComparedStep"] = {},
) -> ComparedPlan:
    """Return a revision with the risks and approvals that its steps have now.

    `inside` has the highest risk and the approvals of the steps in each plan step.
    """
    values = normal_form(document)
    steps = {}
    for step, keys in zip(document.steps, values.pop("steps"), strict=True):
        found = _facts(step, entries, rules)
        if step.fallback is not None:
            fallback = document.by_key[fallbacks.key_of(step.id)]
            found = _with_fallback(found, _facts(fallback, entries, rules))
        steps[step.id] = ComparedStep(keys, *found)
        if step.kind == "plan":
            facts = inside.get(step.id, ComparedStep({}, UNKNOWN))
            steps[step.id] = replace(facts, values=keys)
    return ComparedPlan(values, steps)


def merged(inner: ComparedPlan) -> ComparedStep:
    """Return the highest risk of the steps of a sub-plan, and all their approvals."""
    words = {word for step in inner.steps.values() for word in _WORD.findall(step.risk)}
    risks = words & set(map(str, Risk))
    risk = str(highest(risks)) if risks else ""
    gates = [step.gate for step in inner.steps.values()]
    return ComparedStep(
        {},
        UNKNOWN if UNKNOWN in words else risk,
        GateFacts(
            tuple(dict.fromkeys(reason for gate in gates for reason in gate.reasons)),
            tuple(dict.fromkeys(group for gate in gates for group in gate.groups)),
        ),
    )


def _facts(
    step: StepDocument, entries: Mapping[str, CatalogEntry], rules: Sequence[Rule]
) -> tuple[str, GateFacts]:
    """Return the risk of a step and the approval that it needs."""
    entry = entries.get(step.id)
    action = entry.contract.action(step.action) if entry else None
    demand = demand_of(step, action, rules)
    groups = tuple(f"{one.count} {one.group}" for one in demand.requirements)
    if step.kind == "skill" and action is None:
        groups = (UNKNOWN,)  # the policies of a hidden skill are hidden too
    risk = str(action.risk) if action else UNKNOWN
    return risk if step.kind == "skill" else "", GateFacts(demand.reasons, groups)


def _with_fallback(
    own: tuple[str, GateFacts], other: tuple[str, GateFacts]
) -> tuple[str, GateFacts]:
    (risk, gate), (other_risk, other_gate) = own, other
    groups = (*gate.groups, *(f"{group} (fallback)" for group in other_gate.groups))
    reasons = (*gate.reasons, *(f"Fallback: {each}" for each in other_gate.reasons))
    return f"{risk}, fallback: {other_risk}", GateFacts(reasons, groups)


def between(before: ComparedPlan, after: ComparedPlan) -> PlanDifference:
    """Return what differs; the steps in the order of `after`, removed ones last."""
    ids = [*after.steps, *(key for key in before.steps if key not in after.steps)]
    steps = (_step(key, before.steps.get(key), after.steps.get(key)) for key in ids)
    plan = [*field_changes(before.values, after.values), *_order(before, after)]
    return PlanDifference(tuple(plan), tuple(step for step in steps if step))


def _step(
    key: str, before: ComparedStep | None, after: ComparedStep | None
) -> StepDifference | None:
    old, new = before or ComparedStep({}), after or ComparedStep({})
    difference = StepDifference(
        key,
        _change(before, after),
        tuple(field_changes(old.values, new.values)),
        _one("risk", old.risk, new.risk),
        _one("required approval", old.gate, new.gate),
    )
    is_same = not (difference.fields or difference.risk or difference.gate)
    return None if is_same else difference


def _change(before: ComparedStep | None, after: ComparedStep | None) -> StepChange:
    if before is None:
        return StepChange.ADDED
    return StepChange.CHANGED if after else StepChange.REMOVED


def _one(name: str, before: Any, after: Any) -> FieldChange | None:
    if before == after:
        return None
    return FieldChange(name, str(before) or None, str(after) or None)


def _order(before: ComparedPlan, after: ComparedPlan) -> Iterator[FieldChange]:
    """Yield the order of the steps that both have, if it differs."""
    old = [key for key in before.steps if key in after.steps]
    new = [key for key in after.steps if key in before.steps]
    if old != new:
        yield FieldChange(ORDER, old, new)


def field_changes(
    before: Mapping[str, Any], after: Mapping[str, Any], path: str = ""
) -> Iterator[FieldChange]:
    """Yield each value that differs, with its path; lists are compared whole."""
    for key in [*before, *(key for key in after if key not in before)]:
        old, new = before.get(key, _MISSING), after.get(key, _MISSING)
        name = f"{path}{key}"
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from field_changes(old, new, f"{name}.")
        elif not _is_same(old, new):
            yield FieldChange(
                name,
                None if old is _MISSING else old,
                None if new is _MISSING else new,
            )


def _is_same(old: Any, new: Any) -> bool:
    """Compare as JSON does: 1 and true differ."""
    if old is _MISSING or new is _MISSING:
        return old is new
    return old == new and repr(old) == repr(new)
