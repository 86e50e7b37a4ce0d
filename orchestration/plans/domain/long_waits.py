"""How long a step waits at most, with the waits in its sub-plan and in its items."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from math import ceil
from typing import Any

from execfabric.lib.refusal import Refusal
from orchestration.plans.domain import references, waits
from orchestration.plans.domain.document import StepDocument
from orchestration.plans.domain.inputs import defaults_of
from orchestration.plans.domain.references import Scope
from orchestration.plans.domain.subplans import Subplan, joined

Inputs = Mapping[str, Any] | None
"""The inputs of a plan, if they are known."""
WaitKey = tuple[str, bool, bytes]
"""A revision of a saved plan, whether its run is parallel, and its known inputs."""


@dataclass(frozen=True)
class LongWait:
    """The longest wait inside a plan step."""

    seconds: float = 0.0
    step: str = ""
    """The path of the step that waits."""
    turns: int = 1
    """How many items wait one after another."""


@dataclass(frozen=True)
class WaitFinder:
    """Finds waits in saved plans, at the time of a proposal."""

    at: datetime | None
    is_parallel: bool
    """True if the plan of the run is parallel; that of a sub-plan has no effect."""
    found: dict[WaitKey, LongWait]
    """The longest waits in sub-plans that were found before."""

    def inside(self, step: StepDocument, subplan: Subplan, inputs: Inputs) -> LongWait:
        """Return the longest wait in the sub-plan of a step, with all its items."""
        inner = _inputs_of(step, subplan, inputs)
        key = subplan.saved.revision_id, self.is_parallel, _digest(inner)
        if key not in self.found:
            self.found[key] = max(
                self._waits(subplan, inner),
                key=lambda one: one.seconds,
                default=LongWait(),
            )
        found = self.found[key]
        turns = self._turns(step, inputs)
        return LongWait(found.seconds * turns, found.step, found.turns * turns)

    def _waits(self, subplan: Subplan, inputs: Inputs) -> Iterator[LongWait]:
        for step in subplan.saved.document.steps:
            nested = subplan.checked.subplans.get(step.id)
            if nested is not None:
                found = self.inside(step, nested, inputs)
                path = joined(step.id, found.step)
                yield LongWait(found.seconds, path, found.turns)
                continue
            for _, seconds in waits.longest(_foreseen(step, inputs), self.at):
                yield LongWait(seconds, step.id)

    def _turns(self, step: StepDocument, inputs: Inputs) -> int:
        """Return how many items of a list, if it is known, run one after another."""
        items = _resolved(step.for_each, inputs)
        if not isinstance(items, list) or not items:
            return 1
        at_once = (step.at_once or len(items)) if self.is_parallel else 1
        return ceil(len(items) / at_once)


def _inputs_of(step: StepDocument, subplan: Subplan, inputs: Inputs) -> Inputs:
    """Return the inputs of a sub-plan that are known before the run."""
    known = dict(defaults_of(subplan.saved.document.inputs_schema or {}))
    for name, value in step.inputs.items():
        known.pop(name, None)
        if (given := _resolved(value, inputs)) is not None:
            known[name] = given
    return known


def _digest(inputs: Inputs) -> bytes:
    # Of their text: 1 and true are equal values.
    return sha256(repr(inputs).encode(errors="surrogatepass")).digest()


def _resolved(value: Any, inputs: Inputs) -> Any:
    """Return a value if it depends on known inputs only; else None."""
    heads = {reference.head for reference in references.find(value)}
    if heads - {"inputs"} or (heads and inputs is None):
        return None
    try:
        return references.resolve(value, Scope(inputs=inputs or {}, run={}))
    except Refusal:
        return None


def _foreseen(step: StepDocument, inputs: Inputs) -> StepDocument:
    try:
        return waits.foreseen(step, inputs)
    except Refusal:
        return step  # it fails when it is due
