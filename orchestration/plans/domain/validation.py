"""Whether a plan of sound form can run: graph, registry, references, gates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from orchestration.plans.domain import graph, params, scoping
from orchestration.plans.domain import inputs as given
from orchestration.plans.domain.catalog import Catalog, CatalogEntry
from orchestration.plans.domain.document import PlanDocument, StepDocument
from orchestration.plans.domain.naming import near
from orchestration.plans.domain.params import Around, Way
from orchestration.plans.domain.problem import (
    ERROR,
    WARNING,
    Positions,
    Problem,
    Problems,
    in_order,
)
from orchestration.plans.domain.undo import undo_of

__all__ = ["Catalog", "CatalogEntry", "Validation", "undo_of", "validate"]


@dataclass(frozen=True)
class Validation:
    """What validation found."""

    problems: Sequence[Problem]
    order: Sequence[str] = ()
    pins: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Per skill step the version it will be bound to."""


def validate(
    document: PlanDocument,
    positions: Positions,
    *,
    catalog: Catalog,
    inputs: Mapping[str, Any] | None,
    groups: Mapping[str, int] | None = None,
) -> Validation:
    """Find every problem at once.

    `inputs` None leaves the inputs unchecked; `groups` says how many people of each
    group could decide, None leaves the gates unchecked.
    """
    plan = _Plan(document, positions, catalog, groups)
    sound = plan.check_inputs(inputs)
    ancestry = plan.check_graph()
    entries = {
        step.id: entry
        for step in document.steps
        if step.kind == "skill" and (entry := plan.entry(step)) is not None
    }
    around = Around(plan.document, entries, ancestry, inputs if sound else None)
    for step in document.steps:
        plan.check_gate(step)
        plan.check_step(step, around)
    pins = {
        key: {
            "version_id": entry.version_id,
            "skill": entry.contract.slug,
            "version": entry.contract.version,
            "digest": entry.digest,
            "action": document.step(key).action,
        }
        for key, entry in entries.items()
    }
    return Validation(in_order(plan.problems.found), plan.order, pins)


class _Plan:
    """One validation under way."""

    def __init__(
        self,
        document: PlanDocument,
        positions: Positions,
        catalog: Catalog,
        groups: Mapping[str, int] | None,
    ) -> None:
        self.document = document
        self.problems = Problems(positions)
        self.order: list[str] = []
        self._catalog = catalog
        self._groups = groups
        self._root: Way = ("plan",) if ("plan",) in positions else ()
        self._positions = positions

    def at(self, step: StepDocument) -> Way:
        """The way to a step in the document."""
        return (*self._root, "steps", step.index)

    def key(self, step: StepDocument, *spellings: str) -> Way:
        """The way to a key of a step, in whichever spelling it was written."""
        ways = [(*self.at(step), name) for name in spellings]
        return next((way for way in ways if way in self._positions), ways[0])

    def check_inputs(self, inputs: Mapping[str, Any] | None) -> bool:
        """Note what is wrong with the inputs; whether they are known and sound."""
        schema = self.document.inputs_schema
        way = (*self._root, "inputs")
        wrong = [*given.unusable(schema)] if schema is not None else []
        for below, message in wrong:
            self.problems.add("plan.schema_invalid", message, (*way, *below))
        if schema is not None and wrong:
            self.document = replace(self.document, inputs_schema=given.stand_in(schema))
        if inputs is None or wrong:
            return False
        found = given.wrong(schema, inputs)
        for message in found:
            self.problems.add("plan.input_invalid", message, way)
        return not found

    def check_graph(self) -> graph.Ancestry:
        """Note circles and unknown dependencies; find the order."""
        edges = {step.id: self._known_parents(step) for step in self.document.steps}
        self.order, circular = graph.order(edges)
        for circle in graph.cycles(edges, circular):
            names = " -> ".join(
                [*circle[:SHOWN], "…"] if len(circle) > SHOWN else circle
            )
            for key in circle:
                step = self.document.step(key)
                message = f"It is part of a circle of {len(circle)} steps: {names}."
                way = self.key(step, "dependsOn", "depends_on")
                self.problems.add("plan.cycle", message, way, step=key)
        rules = {step.id: step.trigger_rule for step in self.document.steps}
        return graph.Ancestry(edges, self.order, rules)

    def _known_parents(self, step: StepDocument) -> list[str]:
        known = []
        for index, parent in enumerate(step.depends_on):
            way = (*self.key(step, "dependsOn", "depends_on"), index)
            if parent == step.id:
                message = "A step cannot depend on itself."
                self.problems.add("plan.self_reference", message, way, step=step.id)
            elif not self.document.has(parent):
                hint = near(parent, [one.id for one in self.document.steps])
                message = f"There is no step {parent!r}.{hint}"
                self.problems.add("plan.unknown_step", message, way, step=step.id)
            else:
                known.append(parent)
        return known

    def entry(self, step: StepDocument) -> CatalogEntry | None:
        """The registry's answer for a step, with every problem it has."""
        if not step.skill:
            return None
        way = self.key(step, "skill")
        found = self._catalog.find(step.skill, step.version)
        if found is None:
            self._unknown_skill(step)
            return None
        for code, message, severity in _standing(step, found):
            self.problems.add(code, message, way, step=step.id, severity=severity)
        names = [action.name for action in found.contract.actions]
        if step.action and step.action not in names:
            hint = near(step.action, names)
            message = f"{step.skill} has no action {step.action!r}.{hint}"
            self.problems.add(
                "plan.unknown_action", message, self.key(step, "action"), step=step.id
            )
            return None
        return found if step.action else None

    def _unknown_skill(self, step: StepDocument) -> None:
        versions = self._catalog.known_versions(step.skill)
        if versions:
            known = ", ".join(versions)
            asked = (
                f"no version {step.version!r}" if step.version else "no current version"
            )
            message = f"{step.skill} has {asked}; it has {known}."
            way = self.key(step, "version", "skill")
            self.problems.add("plan.unknown_version", message, way, step=step.id)
            return
        hint = near(step.skill, self._catalog.slugs())
        message = f"There is no skill {step.skill!r} for you.{hint}"
        way = self.key(step, "skill")
        self.problems.add("plan.unknown_skill", message, way, step=step.id)

    def check_gate(self, step: StepDocument) -> None:
        """Note groups that do not exist or are too small."""
        if step.approval is None or self._groups is None:
            return
        for index, asked in enumerate(step.approval.groups):
            way = (*self.key(step, "approval"), "groups", index)
            if asked.group not in self._groups:
                hint = near(asked.group, self._groups)
                message = f"There is no group {asked.group!r}.{hint}"
                self.problems.add("plan.unknown_group", message, way, step=step.id)
            elif self._groups[asked.group] < asked.count:
                message = (
                    f"It needs {asked.count} of {asked.group}; besides the proposer"
                    f" there are {self._groups[asked.group]} who may decide."
                )
                self.problems.add("plan.gate_unsatisfiable", message, way, step=step.id)

    def check_step(self, step: StepDocument, around: Around) -> None:
        """Note every problem of a step's params, its question and its undo."""
        way = (*self.at(step), "params")
        scoping.check(step, step.params, around, self.problems, way)
        if step.approval is not None:
            asked = (*self.at(step), "approval", "reason")
            scoping.check(step, step.approval.reason, around, self.problems, asked)
        action = around.action(step.id)
        if action is not None:
            params.check(step, step.params, action, around, self.problems, way)
        if step.rollback is not None and action is not None:
            self._check_undo(step, around)

    def _check_undo(self, step: StepDocument, around: Around) -> None:
        entry, rollback = around.entries[step.id], step.rollback
        undo = undo_of(step, entry.contract)
        way = (*self.at(step), "rollback")
        if undo is None:
            named = rollback.action if rollback else ""
            names = [action.name for action in entry.contract.actions]
            message = (
                f"{step.skill} has no action {named!r} to undo with.{near(named, names)}"
                if named
                else f"{step.action} has no undo of its own; name an action."
            )
            self.problems.add(
                "plan.undo_missing", message, (*way, "action"), step=step.id
            )
            return
        way = (*way, "params")
        scoping.check(step, undo.params, around, self.problems, way, undo=True)
        action = entry.contract.action(undo.action)
        if action is not None:
            params.check(step, undo.params, action, around, self.problems, way)


SHOWN = 10
"""Members of a circle that a message names; each has a problem of its own."""


def _standing(step: StepDocument, entry: CatalogEntry) -> list[tuple[str, str, str]]:
    found = []
    if entry.state == "draft":
        message = f"{step.skill} is a draft; it has to be published first."
        found.append(("plan.skill_not_active", message, ERROR))
    if entry.state == "quarantined":
        message = f"{step.skill} is quarantined; nothing of it starts."
        found.append(("plan.skill_quarantined", message, ERROR))
    if entry.state == "deprecated":
        message = f"{step.skill} is deprecated."
        found.append(("plan.skill_deprecated", message, WARNING))
    if not entry.may_propose:
        message = f"You may not propose plans with {step.skill}."
        found.append(("plan.skill_not_permitted", message, ERROR))
    if not entry.available:
        message = f"The published code of {step.skill} is not installed here."
        found.append(("plan.skill_unavailable", message, ERROR))
    return found
