"""Validate a plan that could be read: graph, skills, references, inputs, approvals."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from orchestration.plans.domain import graph, params, scoping
from orchestration.plans.domain import inputs as run_inputs
from orchestration.plans.domain.catalog import Catalog, CatalogEntry
from orchestration.plans.domain.document import PlanDocument, StepDocument
from orchestration.plans.domain.naming import near
from orchestration.plans.domain.params import Around
from orchestration.plans.domain.problem import (
    ERROR,
    WARNING,
    Path,
    Positions,
    Problem,
    Problems,
    in_order,
)
from orchestration.plans.domain.undo import undo_of

MAX_NAMED = 10
"""Steps of a cycle that a message names; each step has a problem of its own."""


@dataclass(frozen=True)
class Validation:
    """The problems of a plan, its order, and the skill versions it is bound to."""

    problems: Sequence[Problem]
    order: Sequence[str] = ()
    pins: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The skill version of each skill step."""


def validate(
    document: PlanDocument,
    positions: Positions,
    *,
    catalog: Catalog,
    inputs: Mapping[str, Any] | None,
    groups: Mapping[str, int] | None = None,
) -> Validation:
    """Find every problem at once.

    `groups` has the number of possible approvers in each group. Inputs and approvals
    are not checked if `inputs` or `groups` is None.
    """
    plan = _Plan(document, positions, catalog, groups)
    has_inputs = plan.check_inputs(inputs)
    ancestry = plan.check_graph()
    entries = {
        step.id: entry
        for step in document.steps
        if step.kind == "skill" and (entry := plan.entry(step)) is not None
    }
    around = Around(plan.document, entries, ancestry, inputs if has_inputs else None)
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
    """A plan being validated."""

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
        self._root: Path = ("plan",) if ("plan",) in positions else ()

    def at(self, step: StepDocument, *below: str | int) -> Path:
        """Return the path of a step, or of something in it."""
        return (*self._root, "steps", step.index, *below)

    def check_inputs(self, inputs: Mapping[str, Any] | None) -> bool:
        """Check schema and inputs; return True if there are valid inputs."""
        schema = self.document.inputs_schema
        path = (*self._root, "inputs")
        if schema is not None:
            unusable = [*run_inputs.unusable(schema)]
            for below, message in unusable:
                self.problems.add("plan.schema_invalid", message, (*path, *below))
            if unusable:
                stand_in = run_inputs.stand_in(schema)
                self.document = replace(self.document, inputs_schema=stand_in)
                return False
        if inputs is None:
            return False
        problems = run_inputs.wrong(schema, inputs)
        for name, message in problems:
            self.problems.add("plan.input_invalid", message, path, input=name)
        return not problems

    def check_graph(self) -> graph.Ancestry:
        """Check the dependencies, and set the order."""
        edges = {step.id: self._known_parents(step) for step in self.document.steps}
        self.order, in_cycles = graph.order(edges)
        for cycle in graph.cycles(edges, in_cycles):
            names = " -> ".join(
                [*cycle[:MAX_NAMED], *(["…"] * (len(cycle) > MAX_NAMED))]
            )
            message = f"Part of a cycle of {len(cycle)} steps: {names}."
            for key in cycle:
                path = self.at(self.document.step(key), "dependsOn")
                self.problems.add("plan.cycle", message, path, step=key)
        rules = {step.id: step.trigger_rule for step in self.document.steps}
        return graph.Ancestry(edges, self.order, rules)

    def _known_parents(self, step: StepDocument) -> list[str]:
        known = []
        for index, parent in enumerate(step.depends_on):
            path = self.at(step, "dependsOn", index)
            if parent == step.id:
                message = "A step cannot depend on itself."
                self.problems.add("plan.self_reference", message, path, step=step.id)
            elif not self.document.has(parent):
                hint = near(parent, self.document.by_id())
                message = f"Unknown step {parent!r}.{hint}"
                self.problems.add("plan.unknown_step", message, path, step=step.id)
            else:
                known.append(parent)
        return known

    def entry(self, step: StepDocument) -> CatalogEntry | None:
        """Return the skill version of a step, and note every problem with it."""
        if not step.skill:
            return None
        entry = self._catalog.find(step.skill, step.version)
        if entry is None:
            self._add_unknown_skill(step)
            return None
        path = self.at(step, "skill")
        for code, message, severity in _state_problems(step, entry):
            self.problems.add(code, message, path, step=step.id, severity=severity)
        names = [action.name for action in entry.contract.actions]
        if step.action and step.action not in names:
            hint = near(step.action, names)
            message = f"{step.skill} has no action {step.action!r}.{hint}"
            path = self.at(step, "action")
            self.problems.add("plan.unknown_action", message, path, step=step.id)
            return None
        return entry if step.action else None

    def _add_unknown_skill(self, step: StepDocument) -> None:
        if versions := self._catalog.known_versions(step.skill):
            wanted = f"version {step.version!r}" if step.version else "current version"
            message = f"{step.skill} has no {wanted}. It has {', '.join(versions)}."
            key = "version" if step.version else "skill"
            path = self.at(step, key)
            self.problems.add("plan.unknown_version", message, path, step=step.id)
            return
        hint = near(step.skill, self._catalog.slugs())
        message = (
            f"Unknown skill {step.skill!r}, or you do not have access to it.{hint}"
        )
        path = self.at(step, "skill")
        self.problems.add("plan.unknown_skill", message, path, step=step.id)

    def check_gate(self, step: StepDocument) -> None:
        """Check that the groups of an approval exist and are large enough."""
        if step.approval is None or self._groups is None:
            return
        for index, needed in enumerate(step.approval.groups):
            path = self.at(step, "approval", "groups", index)
            size = self._groups.get(needed.group)
            if size is None:
                hint = near(needed.group, self._groups)
                message = f"Unknown group {needed.group!r}.{hint}"
                self.problems.add("plan.unknown_group", message, path, step=step.id)
            elif size < needed.count:
                message = (
                    f"Needs {needed.count} approvers from group {needed.group}, but only"
                    f" {size} can approve besides the proposer."
                )
                self.problems.add(
                    "plan.gate_unsatisfiable", message, path, step=step.id
                )

    def check_step(self, step: StepDocument, around: Around) -> None:
        """Check the parameters of a step, its reason for approval and its undo."""
        path = self.at(step, "params")
        scoping.check(step, step.params, around, self.problems, path)
        if step.approval is not None:
            reason = self.at(step, "approval", "reason")
            scoping.check(step, step.approval.reason, around, self.problems, reason)
        action = around.action(step.id)
        if action is not None:
            params.check(step, step.params, action, around, self.problems, path)
            if step.rollback is not None:
                self._check_undo(step, around)

    def _check_undo(self, step: StepDocument, around: Around) -> None:
        entry = around.entries[step.id]
        undo = undo_of(step, entry.contract)
        if undo is None:
            name = step.rollback.action if step.rollback else ""
            names = [action.name for action in entry.contract.actions]
            message = (
                f"{step.skill} has no action {name!r} for the undo.{near(name, names)}"
                if name
                else f"{step.action} has no undo of its own. Name an action."
            )
            path = self.at(step, "rollback", "action")
            self.problems.add("plan.undo_missing", message, path, step=step.id)
            return
        path = self.at(step, "rollback", "params")
        scoping.check(step, undo.params, around, self.problems, path, undo=True)
        action = entry.contract.action(undo.action)
        if action is not None:
            params.check(step, undo.params, action, around, self.problems, path)


def _state_problems(
    step: StepDocument, entry: CatalogEntry
) -> Iterator[tuple[str, str, str]]:
    """Return code, sentence and severity of what the state of a skill forbids."""
    skill = step.skill
    if entry.state == "draft":
        message = f"{skill} is a draft. Ask an admin to publish it."
        yield "plan.skill_not_active", message, ERROR
    if entry.state == "quarantined":
        message = f"{skill} is quarantined, so none of its actions run."
        yield "plan.skill_quarantined", message, ERROR
    if entry.state == "deprecated":
        yield "plan.skill_deprecated", f"{skill} is deprecated.", WARNING
    if not entry.may_propose:
        message = f"You may not propose plans with {skill}."
        yield "plan.skill_not_permitted", message, ERROR
    if not entry.available:
        message = f"The published code of {skill} is not installed here."
        yield "plan.skill_unavailable", message, ERROR
