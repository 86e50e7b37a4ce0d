"""Whether a plan of sound form can run: graph, registry, references, gates."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from orchestration.plans.domain import graph, params
from orchestration.plans.domain.document import PlanDocument, StepDocument
from orchestration.plans.domain.problem import (
    WARNING,
    Positions,
    Problem,
    Problems,
)
from orchestration.skills.domain.contract import SkillContract


@dataclass(frozen=True)
class CatalogEntry:
    """A skill version as the validator sees it, for one proposer."""

    contract: SkillContract
    state: str
    digest: str
    may_propose: bool
    available: bool
    """Whether the published code is installed here."""
    version_id: str


class Catalog(Protocol):
    """What the registry answers, for one proposer."""

    def find(self, slug: str, version: str | None) -> CatalogEntry | None:
        """The version asked for, or the current one."""
        ...

    def known_versions(self, slug: str) -> Sequence[str]:
        """Its published versions."""
        ...

    def slugs(self) -> Sequence[str]:
        """The skills the proposer may see."""
        ...


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
    plan.check_inputs(inputs)
    plan.check_graph()
    entries = {
        step.id: entry
        for step in document.steps
        if step.kind == "skill" and (entry := plan.entry(step)) is not None
    }
    for step in document.steps:
        plan.check_gate(step)
        params.check(step, plan.scope(step, entries), plan.problems, plan.at(step))
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
    return Validation(plan.problems.found, plan.order, pins)


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
        self._root: tuple[str | int, ...] = ("plan",) if ("plan",) in positions else ()
        self._index = {step.id: i for i, step in enumerate(document.steps)}
        self._positions = positions
        self._ancestors: Mapping[str, frozenset[str]] = {}

    def at(self, step: StepDocument) -> tuple[str | int, ...]:
        """The way to a step in the document."""
        return (*self._root, "steps", self._index[step.id])

    def key(self, step: StepDocument, *spellings: str) -> tuple[str | int, ...]:
        """The way to a key of a step, in whichever spelling it was written."""
        ways = [(*self.at(step), name) for name in spellings]
        return next((way for way in ways if way in self._positions), ways[0])

    def scope(
        self, step: StepDocument, entries: Mapping[str, CatalogEntry]
    ) -> params.Around:
        """What the params of a step can refer to."""
        return params.Around(
            document=self.document,
            entries=entries,
            ancestors=self._ancestors.get(step.id, frozenset()),
        )

    def check_inputs(self, inputs: Mapping[str, Any] | None) -> None:
        schema = self.document.inputs_schema
        way = (*self._root, "inputs")
        if schema is None:
            for name in inputs or {}:
                message = f"The plan asks for no input {name!r}."
                self.problems.add("plan.input_invalid", message, way)
            return
        try:
            Draft202012Validator.check_schema(schema)
        except SchemaError as error:
            self.problems.add("plan.schema_invalid", f"{error.message}.", way)
            return
        if inputs is None:
            return
        for error in Draft202012Validator(schema).iter_errors(dict(inputs)):
            message = f"{error.json_path}: {error.message}."
            self.problems.add("plan.input_invalid", message, way)

    def check_graph(self) -> None:
        edges: dict[str, list[str]] = {}
        for step in self.document.steps:
            edges[step.id] = self._known_parents(step)
        self.order, circle = graph.order(edges)
        if circle:
            names = " -> ".join([*circle, circle[0]])
            for key in circle:
                step = self.document.step(key)
                message = f"It is part of a circle: {names}."
                way = self.key(step, "dependsOn", "depends_on")
                self.problems.add("plan.cycle", message, way, step=key)
        self._ancestors = graph.ancestors(edges, self.order)

    def _known_parents(self, step: StepDocument) -> list[str]:
        known = []
        for parent in step.depends_on:
            way = self.key(step, "dependsOn", "depends_on")
            if parent == step.id:
                message = "A step cannot depend on itself."
                self.problems.add("plan.self_reference", message, way, step=step.id)
            elif parent not in self._index:
                message = f"There is no step {parent!r}.{_near(parent, self._index)}"
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
            near = _near(step.action, names)
            message = f"{step.skill} has no action {step.action!r}.{near}"
            self.problems.add(
                "plan.unknown_action", message, self.key(step, "action"), step=step.id
            )
            return None
        return found if step.action else None

    def _unknown_skill(self, step: StepDocument) -> None:
        versions = self._catalog.known_versions(step.skill)
        if versions:
            known = ", ".join(versions)
            message = f"{step.skill} has no version {step.version!r}; it has {known}."
            way = self.key(step, "version", "skill")
            self.problems.add("plan.unknown_version", message, way, step=step.id)
            return
        near = _near(step.skill, self._catalog.slugs())
        message = f"There is no skill {step.skill!r} for you.{near}"
        way = self.key(step, "skill")
        self.problems.add("plan.unknown_skill", message, way, step=step.id)

    def check_gate(self, step: StepDocument) -> None:
        if step.approval is None or self._groups is None:
            return
        way = self.key(step, "approval")
        for asked in step.approval.groups:
            if asked.group not in self._groups:
                near = _near(asked.group, self._groups)
                message = f"There is no group {asked.group!r}.{near}"
                self.problems.add("plan.unknown_group", message, way, step=step.id)
            elif self._groups[asked.group] < asked.count:
                message = (
                    f"It needs {asked.count} of {asked.group}; besides the proposer"
                    f" there are {self._groups[asked.group]}."
                )
                self.problems.add("plan.gate_unsatisfiable", message, way, step=step.id)


def _standing(step: StepDocument, entry: CatalogEntry) -> list[tuple[str, str, str]]:
    found = []
    if entry.state == "quarantined":
        message = f"{step.skill} is quarantined; nothing of it starts."
        found.append(("plan.skill_quarantined", message, "error"))
    if entry.state == "deprecated":
        message = f"{step.skill} is deprecated."
        found.append(("plan.skill_deprecated", message, WARNING))
    if not entry.may_propose:
        message = f"You may not propose plans with {step.skill}."
        found.append(("plan.skill_not_permitted", message, "error"))
    if not entry.available:
        message = f"The published code of {step.skill} is not installed here."
        found.append(("plan.skill_unavailable", message, "error"))
    return found


def _near(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
