"""What the conditions of a plan say before it runs: what the inputs alone decide."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from orchestration.plans.domain import conditions
from orchestration.plans.domain.conditions import ConditionFailed, Name
from orchestration.plans.domain.document import PlanDocument, StepDocument

MOST = 200
"""Conditions up to which a page asks what the inputs decide."""


def left_out(
    document: PlanDocument, order: Iterable[str], inputs: Mapping[str, Any]
) -> dict[str, str]:
    """Return why inputs alone leave steps out, by step; nothing for a large plan.

    `order` is an order in which the steps may run. A condition that cannot be evaluated
    leaves nothing out: the run would fail there.
    """
    foreseen = Foreseen(document, inputs)
    asked = sum(bool(step.when) + len(step.choose) for step in document.steps)
    if not 0 < asked <= MOST:
        return {}
    found: dict[str, str] = {}
    for step in map(document.by_id.__getitem__, order):
        if _is_after_left_out(document, step, found):
            found[step.id] = "All steps before it are left out."
            continue
        with suppress(ConditionFailed):
            if reason := foreseen.skipped(step):
                found[step.id] = reason
    return found


def _is_after_left_out(
    document: PlanDocument, step: StepDocument, found: Mapping[str, str]
) -> bool:
    if document.routers.get(step.id) in found:
        return True
    counted = document.counted(step)
    return (
        bool(counted)
        and step.trigger_rule != "all_done"
        and all(key in found for key in counted)
    )


@dataclass(frozen=True)
class Foreseen:
    """The outcome of the conditions that name inputs only; each is evaluated once."""

    document: PlanDocument
    inputs: Mapping[str, Any]
    unknown: frozenset[str] = frozenset()
    """The inputs that only the run will know."""
    _reasons: dict[str, str | ConditionFailed] = field(default_factory=dict)
    """Why steps are left out, or why that cannot be said, by step."""
    _choices: dict[str, Mapping[str, None] | None] = field(default_factory=dict)
    """What choose steps choose, by step."""
    _values: conditions.NamedValues = field(default_factory=conditions.NamedValues)

    def skipped(self, step: StepDocument) -> str:
        """Return why the inputs leave a step out; empty if they do not.

        :raises ConditionFailed: if its condition is neither true nor false
        """
        # No recursion: 10,000 choose steps may choose each other in turn.
        unknown: list[StepDocument] = []
        each: StepDocument | None = step
        while each is not None and each.id not in self._reasons:
            unknown.append(each)
            each = self._router(each)
        for each in reversed(unknown):
            self._reasons[each.id] = self._reason_or_error(each)
        reason = self._reasons[step.id]
        if isinstance(reason, ConditionFailed):
            raise ConditionFailed(*reason.args)
        return reason

    def _reason_or_error(self, step: StepDocument) -> str | ConditionFailed:
        try:
            return self._reason(step)
        except ConditionFailed as error:
            return error.with_traceback(None)

    def _reason(self, step: StepDocument) -> str:
        """Return why a step is left out; that of its choose step is known."""
        router = self._router(step)
        if router is not None:
            if self.skipped(router):
                return f"Step {router.id}, which would choose it, is skipped."
            chosen = self.chosen(router)
            if chosen is not None and step.id not in chosen:
                return f"Step {router.id} does not choose it with these inputs."
        if step.when and self._decided(step.when) is False:
            return f"Its condition is false with these inputs: {step.when}"
        return ""

    def notes(self, step: StepDocument) -> list[str]:
        """Return the conditions of a step that only the run can decide."""
        notes = []
        router = self._router(step)
        if router is not None and self.chosen(router) is None:
            notes.append(f"It runs only if step {router.id} chooses it.")
        if step.when and self._decided(step.when) is None:
            notes.append(f"It runs only if its condition is true: {step.when}")
        return notes

    def chosen(self, step: StepDocument) -> Mapping[str, None] | None:
        """Return the steps that a choose step would choose; None if only the run can tell.

        :raises ConditionFailed: if a condition is neither true nor false
        """
        if step.id not in self._choices:
            self._choices[step.id] = self._choice(step)
        return self._choices[step.id]

    def _choice(self, step: StepDocument) -> Mapping[str, None] | None:
        for rule in step.choose:
            decided = rule.is_else or self._decided(rule.condition or "")
            if decided is None:
                return None
            if decided:
                return dict.fromkeys(rule.targets)
        return {}

    def summary(self, step: StepDocument) -> str:
        """Describe a choose step."""
        chosen = self.chosen(step)
        if chosen is not None:
            return f"Chooses with these inputs: {', '.join(chosen) or 'no step'}."
        every = dict.fromkeys(key for rule in step.choose for key in rule.targets)
        return (
            f"Chooses among {', '.join(every) or 'no steps'} when the run gets there."
        )

    def _router(self, step: StepDocument) -> StepDocument | None:
        key = self.document.routers.get(step.id, "")
        return self.document.by_id.get(key) if key != step.id else None

    def _decided(self, source: str) -> bool | None:
        if not all(map(self._is_known, conditions.names_of(source))):
            return None
        return conditions.evaluate(source, lambda _: self.inputs, self._values)

    def _is_known(self, name: Name) -> bool:
        if name.parts[0] != "inputs":
            return False
        return not self.unknown.intersection(name.path[:1] or self.unknown)
