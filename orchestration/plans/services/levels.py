"""The plans that a dry run is inside of: the plan itself, and the sub-plans around a step."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from execfabric.lib.refusal import Refusal
from orchestration.plans.domain import references
from orchestration.plans.domain.document import PlanDocument, StepDocument
from orchestration.plans.domain.inputs import defaults_of
from orchestration.plans.domain.subplans import SEPARATOR, joined
from orchestration.plans.services.foreseen import Foreseen

RUN: Mapping[str, Any] = {"id": "dry-run"}


@dataclass
class PlanLevel:
    """One plan: its inputs, and the outputs that dry runs of its steps returned."""

    path: str
    """The path of its plan step; empty for the plan itself."""
    document: PlanDocument
    inputs: Mapping[str, Any]
    unknown: frozenset[str] = frozenset()
    """The inputs that only the run will know."""
    skipped: str = ""
    """Why all of its steps are skipped; else empty."""
    outputs: dict[str, Any] = field(default_factory=dict)

    @property
    def known_inputs(self) -> dict[str, Any]:
        known = self.inputs.items()
        return {name: value for name, value in known if name not in self.unknown}

    @cached_property
    def foreseen(self) -> Foreseen:
        return Foreseen(self.document, self.inputs, self.unknown)

    def resolved(self, value: Any, item: Mapping[str, Any] = {}) -> Any:
        """Return a value with its references replaced; `item` has the names of an item.

        :raises Refusal: when one of them is not known
        """
        scope = references.Scope(self.inputs, RUN, self.outputs, {}, item=item)
        return references.resolve(value, scope)


class PlanLevels:
    """The plans around the current step of a dry run, from the outside."""

    def __init__(
        self,
        document: PlanDocument,
        inputs: Mapping[str, Any],
        included: Mapping[str, PlanDocument],
    ) -> None:
        self._included = included
        self._open = [PlanLevel("", document, inputs)]

    def at(self, path: str) -> tuple[PlanLevel, StepDocument]:
        """Return a step and its plan; leave the plans that it is not part of."""
        around, _, key = path.rpartition(SEPARATOR)
        while self._open[-1].path != around:
            self._leave()
        level = self._open[-1]
        return level, level.document.by_key[key]

    def enter(self, step: StepDocument, skipped: str = "") -> None:
        """Continue with the steps of the sub-plan that a step runs."""
        outer = self._open[-1]
        path = joined(outer.path, step.id)
        document = self._included[path]
        inputs, unknown = defaults_of(document.inputs_schema), set()
        for name, value in step.inputs.items():
            try:
                inputs[name] = outer.resolved(value)
            except Refusal:
                unknown.add(name)
        level = PlanLevel(path, document, inputs, frozenset(unknown), skipped)
        self._open.append(level)

    def _leave(self) -> None:
        """Give the output of a sub-plan to the plan around it, if it is known.

        Of a list one pass is dry-run, whose output is not that of the step.
        """
        inner = self._open.pop()
        outer, key = self._open[-1], inner.path.rpartition(SEPARATOR)[2]
        if inner.skipped or outer.document.by_key[key].for_each is not None:
            return
        try:
            output = inner.resolved(inner.document.outputs)
        except Refusal:
            return
        outer.outputs[key] = output
