"""Validate a plan that could be read: graph, skills, references, inputs, approvals."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import Any

from orchestration.plans.domain import (
    alternatives,
    graph,
    iteration,
    outputs,
    params,
    queueing,
    routing,
    scoping,
    subplans,
    waiting,
)
from orchestration.plans.domain import inputs as run_inputs
from orchestration.plans.domain.catalog import Catalog, CatalogEntry, state_problems
from orchestration.plans.domain.context import PlanContext, StepPart
from orchestration.plans.domain.document import (
    MAX_STEPS,
    PlanDocument,
    StepDocument,
)
from orchestration.plans.domain.fallbacks import is_fallback, owner_of
from orchestration.plans.domain.naming import near
from orchestration.plans.domain.parts import ApprovalDocument
from orchestration.plans.domain.problem import (
    ERROR,
    Path,
    Positions,
    Problem,
    Problems,
    in_order,
    root_of,
)
from orchestration.plans.domain.subplans import (
    NO_PLANS,
    Nesting,
    PlanFinder,
    Subplan,
)
from orchestration.plans.domain.undo import undo_of
from orchestration.skills.domain.contract import SkillContract

FileFinder = Callable[[str], Mapping[str, Any] | None]
"""Returns the reference of a file id, or None."""
MAX_NAMED = 10
"""Steps of a cycle that a message names; each step has a problem of its own."""


def no_files(_file_id: str) -> None:
    """Find no file: the default, so that access to files is an argument."""


@dataclass(frozen=True)
class Validation:
    """The problems of a plan, its order, and the skill versions it is bound to."""

    problems: Sequence[Problem]
    order: Sequence[str] = ()
    pins: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """The skill version of each skill step, and the revision of each plan step, by path."""
    entries: Mapping[str, CatalogEntry] = field(default_factory=dict)
    inputs: Mapping[str, Any] | None = None
    """The inputs with a reference for each file, if they are valid."""
    subplans: Mapping[str, Subplan] = field(default_factory=dict)
    """The saved plans of plan steps."""
    output_schema: Mapping[str, Any] = field(default_factory=dict)
    """The schema of its declared outputs."""
    size: int = 0
    """The number of steps, with those of its sub-plans."""
    step_runs: int = 0
    """The number of step runs that a run has at least, with the items of known lists."""
    depth: int = 1
    """The number of plans inside each other, counting this one."""


def validate(
    document: PlanDocument,
    positions: Positions,
    *,
    catalog: Catalog,
    inputs: Mapping[str, Any] | None,
    groups: Mapping[str, int] | None = None,
    files: FileFinder = no_files,
    plans: PlanFinder = NO_PLANS,
    limits: waiting.WaitLimits = waiting.UNLIMITED,
) -> Validation:
    """Find every problem at once.

    `groups` has the number of possible approvers in each group. Inputs and approvals
    are not checked if `inputs` or `groups` is None. `files` returns the reference of
    a file id that the proposer may use, or None. `plans` finds sub-plans. Waits are
    checked where `limits` are known.
    """

    def check_subplan(inner: PlanDocument, nesting: Nesting) -> Validation:
        return _validated(
            _Plan(inner, {}, catalog, groups, limits), None, no_files, nesting
        )

    plan = _Plan(document, positions, catalog, groups, limits)
    nesting = Nesting(plans, check_subplan, (document.id,))
    return _validated(plan, inputs, files, nesting)


def _validated(
    plan: "_Plan",
    inputs: Mapping[str, Any] | None,
    files: FileFinder,
    nesting: Nesting,
) -> Validation:
    document = plan.document
    has_inputs = plan.check_inputs(inputs)
    inputs = plan.with_files(inputs, files) if has_inputs else None
    ancestry = plan.check_graph()
    entries = {
        step.id: entry
        for step in plan.document.by_key.values()
        if step.kind == "skill" and (entry := plan.entry(step)) is not None
    }
    nested = {
        step.id: subplan
        for step in document.steps
        if step.kind == "plan" and (subplan := plan.subplan(step, nesting)) is not None
    }
    size = plan.check_size(nested)
    is_small = size <= MAX_STEPS
    # The checks of plan steps would read all steps inside them.
    inner = nested if is_small else {}
    context = PlanContext(
        plan.document, entries, ancestry, plan.problems, inputs, inner
    )
    queueing.check_plan(context, plan.root)
    for step in document.steps:
        plan.check_gate(step)
        plan.check_step(step, context)
    outputs.check(context, (*plan.root, "outputs"))
    runs = plan.check_runs(inner, inputs) if is_small else size
    return Validation(
        in_order(plan.problems.found),
        plan.order,
        subplans.pins_of(document, entries, inner),
        entries,
        inputs,
        inner,
        outputs.schema_of(context),
        size,
        runs,
        1 + max((each.checked.depth for each in inner.values()), default=0),
    )


class _Plan:
    def __init__(
        self,
        document: PlanDocument,
        positions: Positions,
        catalog: Catalog,
        groups: Mapping[str, int] | None,
        limits: waiting.WaitLimits,
    ) -> None:
        self.document = document
        self.problems = Problems(positions)
        self.order: list[str] = []
        self._catalog = catalog
        self._groups = groups
        self._limits = limits
        self._positions = positions
        self.root = root_of(positions)

    def _at(self, step: StepDocument, *below: str | int) -> Path:
        place = ("fallback",) if is_fallback(step.id) else ()
        return (*self.root, "steps", step.index, *place, *below)

    def _note(
        self,
        step: StepDocument,
        code: str,
        message: str,
        *below: str | int,
        severity: str = ERROR,
    ) -> None:
        path = self._at(step, *below)
        owner = owner_of(step.id)
        self.problems.add(code, message, path, step=owner, severity=severity)

    def check_inputs(self, inputs: Mapping[str, Any] | None) -> bool:
        """Check schema and inputs; return True if there are valid inputs."""
        schema = self.document.inputs_schema
        path = (*self.root, "inputs")
        if schema is not None:
            unusable = [*run_inputs.unusable(schema)]
            for below, message in unusable:
                self.problems.add("plan.schema_invalid", message, (*path, *below))
            if unusable:
                stand_in = run_inputs.stand_in(schema)
                # Not `replace`: it would refuse an id that is a problem already.
                self.document = copy(self.document)
                object.__setattr__(self.document, "inputs_schema", stand_in)
                return False
        if inputs is None:
            return False
        problems = run_inputs.wrong(schema, inputs)
        for name, message in problems:
            self.problems.add("plan.input_invalid", message, path, input=name)
        return not problems

    def with_files(
        self, inputs: Mapping[str, Any] | None, files: FileFinder
    ) -> Mapping[str, Any] | None:
        """Replace each file id by a reference; return None if one is unknown."""
        names = run_inputs.file_inputs(self.document.inputs_schema)
        references: dict[str, Any] = {}
        for name in sorted(names & (inputs or {}).keys()):
            references[name] = files((inputs or {})[name])
            if references[name] is None:
                message = (
                    f"Input {name!r}: unknown file, or you do not have access to it."
                    " Upload it again."
                )
                path = (*self.root, "inputs")
                self.problems.add("plan.file_unknown", message, path, input=name)
        if None in references.values():
            return None
        return {**(inputs or {}), **references}

    def check_graph(self) -> graph.Ancestry:
        edges = {step.id: self._known_parents(step) for step in self.document.steps}
        self.order, cycles = graph.order(edges)
        for cycle in cycles:
            more = ["…"] * (len(cycle) > MAX_NAMED)
            names = " -> ".join([*cycle[:MAX_NAMED], *more])
            message = f"Part of a cycle of {len(cycle)} steps: {names}."
            for key in cycle:
                step = self.document.by_id[key]
                self._note(step, "plan.cycle", message, "dependsOn")
        joins = {
            step.id: routing.join_of(self.document, step)
            for step in self.document.steps
        }
        return graph.Ancestry(edges, self.order, joins)

    def _known_parents(self, step: StepDocument) -> list[str]:
        known = []
        for index, parent in enumerate(step.depends_on):
            place = ("dependsOn", index)
            if parent == step.id:
                message = "A step cannot depend on itself."
                self._note(step, "plan.self_reference", message, *place)
            elif parent not in self.document.by_id:
                hint = near(parent, self.document.by_id)
                message = f"Unknown step {parent!r}.{hint}"
                self._note(step, "plan.unknown_step", message, *place)
            else:
                known.append(parent)
        router = self.document.routers.get(step.id)
        if router and router != step.id and router not in known:
            known.append(router)
        return known

    def entry(self, step: StepDocument) -> CatalogEntry | None:
        """Return the skill version of a step, and note every problem with it."""
        if not step.skill:
            return None
        entry = self._catalog.find(step.skill, step.version)
        if entry is None:
            self._add_unknown_skill(step)
            return None
        for code, message, severity in state_problems(step.skill, entry):
            self._note(step, code, message, "skill", severity=severity)
        names = [action.name for action in entry.contract.actions]
        if step.action and step.action not in names:
            hint = near(step.action, names)
            message = f"{step.skill} has no action {step.action!r}.{hint}"
            self._note(step, "plan.unknown_action", message, "action")
            return None
        return entry if step.action else None

    def subplan(self, step: StepDocument, nesting: Nesting) -> Subplan | None:
        """Return the saved plan of a step, and note every problem with it."""
        if not step.plan:
            return None
        found = nesting.subplan(step)
        if not isinstance(found, Subplan):
            self._note(step, *found, "plan")
            return None
        for message in subplans.inner_errors(found):
            self._note(step, "plan.subplan_invalid", message, "plan")
        return found

    def check_size(self, nested: Mapping[str, Subplan]) -> int:
        """Return the number of steps with those of sub-plans."""
        inner = sum(each.checked.size for each in nested.values())
        size = len(self.document.steps) + inner
        if message := subplans.size_problem(size):
            self.problems.add("plan.too_many_steps", message, (*self.root, "steps"))
        return size

    def check_runs(
        self, nested: Mapping[str, Subplan], inputs: Mapping[str, Any] | None
    ) -> int:
        """Return the number of step runs that a run has at least."""
        runs = subplans.runs_of(self.document, nested, inputs)
        if message := subplans.runs_problem(runs):
            self.problems.add("plan.too_many_steps", message, (*self.root, "steps"))
        return runs

    def _add_unknown_skill(self, step: StepDocument) -> None:
        if versions := self._catalog.known_versions(step.skill):
            wanted = f"version {step.version!r}" if step.version else "current version"
            message = f"{step.skill} has no {wanted}. It has {', '.join(versions)}."
            is_apart = self._at(step, "version") in self._positions
            key = "version" if is_apart else "skill"
            self._note(step, "plan.unknown_version", message, key)
            return
        hint = near(step.skill, self._catalog.slugs())
        message = (
            f"Unknown skill {step.skill!r}, or you do not have access to it.{hint}"
        )
        self._note(step, "plan.unknown_skill", message, "skill")

    def check_gate(self, step: StepDocument) -> None:
        for key, approval in (("approval", step.approval), ("ask", step.ask)):
            if approval is not None and self._groups is not None:
                self._check_groups(step, key, approval, self._groups)

    def _check_groups(
        self,
        step: StepDocument,
        key: str,
        approval: ApprovalDocument,
        groups: Mapping[str, int],
    ) -> None:
        for index, needed in enumerate(approval.groups):
            place = (key, "groups", index)
            size = groups.get(needed.group)
            if size is None:
                hint = near(needed.group, groups)
                message = f"Unknown group {needed.group!r}.{hint}"
                self._note(step, "plan.unknown_group", message, *place)
            elif size < needed.count:
                message = (
                    f"Needs {needed.count} approvers from group {needed.group}, but only"
                    f" {size} can approve besides the proposer."
                )
                self._note(step, "plan.gate_unsatisfiable", message, *place)

    def check_step(self, step: StepDocument, context: PlanContext) -> None:
        part = StepPart(context, step, self._at(step))
        routing.check(part)
        if step.for_each is not None:
            listed = replace(part, has_item=False)
            iteration.check(listed)
            scoping.check(listed.within("forEach"), step.for_each)
        action = context.action(step.id)
        params.check(part.within("params"), step.params, action)
        waiting.check(part, self._limits)
        for key, approval in (("approval", step.approval), ("ask", step.ask)):
            if approval is not None:
                scoping.check(part.within(key, "reason"), approval.reason)
        if step.kind == "plan":
            subplan = context.subplans.get(step.id)
            params.check_subplan(part.within("inputs"), subplan)
        if action is not None and step.rollback is not None:
            contract = context.entries[step.id].contract
            _check_undo(part.within("rollback"), contract)
        if step.fallback is not None:
            alternatives.check(part.within("fallback"))
        if step.concurrency is not None:
            queueing.check_step(part.within("concurrency"))


def _check_undo(part: StepPart, contract: SkillContract) -> None:
    plan = replace(part.plan, undone=part.step.id)
    part = replace(part, is_undo=True, plan=plan)
    step, undo = part.step, undo_of(part.step, contract)
    if undo is None:
        name = step.rollback.action if step.rollback else ""
        names = [action.name for action in contract.actions]
        message = (
            f"{step.skill} has no action {name!r} for the undo.{near(name, names)}"
            if name
            else f"{step.action} has no undo of its own. Name an action."
        )
        part.note("plan.undo_missing", message, ("action",))
        return
    action = contract.action(undo["action"])
    params.check(part.within("params"), undo["params"], action)
