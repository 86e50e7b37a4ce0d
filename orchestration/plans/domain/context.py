"""The surroundings of a value in a plan: what its references can name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from orchestration.plans.domain import iteration, schemas
from orchestration.plans.domain.catalog import CatalogEntry
from orchestration.plans.domain.document import PlanDocument, StepDocument
from orchestration.plans.domain.graph import Ancestry
from orchestration.plans.domain.inputs import file_inputs
from orchestration.plans.domain.problem import ERROR, Path, Problems
from orchestration.plans.domain.references import FIRST, SELF, Reference
from orchestration.plans.domain.subplans import Subplan
from orchestration.skills.domain.contract import FILE_SCHEMA, ActionContract

APPROVAL_OUTPUT: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"approved": {"type": "boolean"}},
}
CHOOSE_OUTPUT: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["rule", "then"],
    "properties": {
        "rule": {"type": ["integer", "null"]},
        "then": {"type": "array", "items": {"type": "string"}},
    },
}
WAIT_OUTPUT: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["until"],
    "properties": {"until": {"type": "string", "format": "date-time"}},
}
EVENT_OUTPUT: Mapping[str, Any] = {"type": "object"}
_OUTPUTS = {
    "approval": APPROVAL_OUTPUT,
    "choose": CHOOSE_OUTPUT,
    "wait": WAIT_OUTPUT,
}
FILES: Mapping[str, Any] = {"type": ["object", "array"]}


def given_schema(document: PlanDocument) -> Mapping[str, Any]:
    """Return the schema of the inputs as steps see them: of a file, its reference."""
    declared = document.inputs_schema or {}
    files = dict.fromkeys(file_inputs(declared), FILE_SCHEMA)
    return {**declared, "properties": {**declared.get("properties", {}), **files}}


def closed_schema(document: PlanDocument) -> Mapping[str, Any]:
    """Return the schema of the inputs of a sub-plan; by default it takes no others."""
    return {"type": "object", "additionalProperties": False, **given_schema(document)}


@dataclass(frozen=True)
class PlanContext:
    document: PlanDocument
    entries: Mapping[str, CatalogEntry]
    ancestry: Ancestry
    problems: Problems
    inputs: Mapping[str, Any] | None = None
    """The inputs of the run, if they are known and valid."""
    subplans: Mapping[str, Subplan] = field(default_factory=dict)
    """The saved plans of plan steps."""
    undone: str = ""
    """In an undo the step that is undone: one item of its list, without its fallback."""

    def action(self, key: str) -> ActionContract | None:
        entry = self.entries.get(key)
        if entry is None:
            return None
        return entry.contract.action(self.document.by_key[key].action)

    def input_schema(self, path: Sequence[str]) -> Mapping[str, Any]:
        """Return the schema of an input as steps see it: of a file, its reference."""
        return schemas.within(given_schema(self.document), path) or {}

    def schema_of(self, reference: Reference) -> Mapping[str, Any]:
        """Return the schema of an input, of the run's id, or of a part of a step."""
        if reference.head == "inputs":
            return self.input_schema(reference.path)
        if reference.head == "run":
            return {"type": "string"}
        if reference.head not in self.document.by_key or not reference.path:
            return {}
        kind, path = reference.path[0], reference.path[1:]
        if kind == "files":
            return FILES if len(path) == 1 else {}
        schema = self.output_schema(reference.head)
        if kind == "params":
            action = self.action(reference.head)
            schema = action.input_schema if action else {}
        return schemas.within(schema, path) or {}

    def is_first(self, reference: Reference) -> bool:
        """Return True for `$first`, unless a step of the plan has that id."""
        return reference.head == FIRST and FIRST not in self.document.by_id

    def sources(self, key: str) -> list[str]:
        """Return the keys that the output of a step may come from: it, its fallback."""
        return [key] if key == self.undone else self.document.with_fallbacks([key])

    def output_schema(self, key: str) -> Mapping[str, Any]:
        step = self.document.by_key[key]
        output = self._output_once(key, step)
        if step.for_each is None or key == self.undone:
            return output
        return iteration.output_schema(step, output)

    def _output_once(self, key: str, step: StepDocument) -> Mapping[str, Any]:
        """Return the schema of the output of a step, or of one of its items."""
        if step.kind == "plan":
            subplan = self.subplans.get(key)
            return subplan.checked.output_schema if subplan else {}
        if step.event is not None:
            return EVENT_OUTPUT
        if step.form is not None:
            return step.form
        action = self.action(key)
        return action.output_schema if action else _OUTPUTS.get(step.kind, {})


@dataclass(frozen=True)
class StepPart:
    """A part of a step that may contain references."""

    plan: PlanContext
    step: StepDocument
    path: Path
    is_undo: bool = False
    """True in an undo, where `$self` and the step's own id name the undone step."""
    has_item: bool = True
    """False in `forEach` itself, where the item does not exist yet."""

    def note(
        self, code: str, message: str, below: Path = (), *, severity: str = ERROR
    ) -> None:
        path = (*self.path, *below)
        self.plan.problems.add(
            code, message, path, step=self.step.id, severity=severity
        )

    def is_item(self, reference: Reference) -> bool:
        """Return True for the value and the index of the item of this step."""
        return self.has_item and reference.head in iteration.names_of(self.step)

    def is_resolvable(self, reference: Reference) -> bool:
        """Return True if a reference names an input or a step that exists."""
        if reference.broken or not reference.path:
            return False
        return reference.head in {"inputs", "run", *self.plan.document.by_id}

    def within(self, *below: str | int) -> "StepPart":
        """Return a part inside this one."""
        return replace(self, path=(*self.path, *below))

    def parents(self) -> list[str]:
        document = self.plan.document
        return [key for key in document.counted(self.step) if key in document.by_id]

    def schemas_of(self, reference: Reference) -> list[Mapping[str, Any]]:
        """Return the schema of each value that a valid reference may have."""
        if not self.plan.is_first(reference):
            return self._with_fallback(reference)
        if reference.path == ("id",):
            return [{"type": "string"}]
        parents = [reference._replace(head=key) for key in self.parents()]
        return [schema for each in parents for schema in self._with_fallback(each)]

    def _with_fallback(self, reference: Reference) -> list[Mapping[str, Any]]:
        sources = self.plan.sources(reference.head)
        return [
            self._schema_of(reference._replace(head=key))
            for key in sources or [reference.head]
        ]

    def _schema_of(self, reference: Reference) -> Mapping[str, Any]:
        if self.is_item(reference):
            return iteration.schema_of(self, reference)
        if reference.head == SELF:
            reference = reference._replace(head=self.step.id)
        return self.plan.schema_of(reference)
