"""Dry-run a whole plan: the dry run of each action, in order, within limits.

A step that needs the output of another can be dry-run only if the other's dry run
returns its output; otherwise the report says why not. Runs in a worker only.
"""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from execfabric.lib.refusal import Refusal
from orchestration.plans.domain import asking, dryrun, iteration, waits
from orchestration.plans.domain.conditions import ConditionFailed
from orchestration.plans.domain.document import PlanDocument, StepDocument
from orchestration.plans.domain.dryrun import (
    APPROVAL,
    CHOOSE,
    INPUT,
    PLAN,
    WAIT,
    Report,
    StepPreview,
)
from orchestration.plans.domain.fallbacks import owner_of
from orchestration.plans.domain.subplans import joined
from orchestration.plans.services.dry_run_calls import (
    DryRunCalls,
    NotDryRun,
    message_of,
)
from orchestration.plans.services.levels import PlanLevel, PlanLevels
from orchestration.skills import selectors as skills
from orchestration.skills.domain.contract import ActionContract, DryRunKind
from orchestration.skills.domain.outcome import DryRunResult
from orchestration.skills.execution import (
    CallKind,
    Runner,
    TouchedSomething,
    input_problems,
)
from orchestration.skills.selectors import Pinned

MAX_OUTPUT = 256 * 1024
"""Bytes of a dry run's output that later steps may refer to."""


@dataclass(frozen=True)
class Content:
    document: PlanDocument
    order: Sequence[str]
    """The paths of all steps."""
    inputs: Mapping[str, Any]
    pins: Mapping[str, Mapping[str, Any]]
    included: Mapping[str, PlanDocument] = field(default_factory=dict)
    """The sub-plans, by the paths of their plan steps."""


@dataclass
class Previewer:
    """One dry run of a plan, with one runner for all of its steps."""

    content: Content
    runner: Runner
    workdir: Path
    on_step: Callable[[int], None] = lambda _: None
    """Called with the number of steps done before each step."""
    paths: Callable[[Iterable[Mapping[str, Any]]], Mapping[str, Path]] = lambda _: {}
    """Returns the path on this host of each file that is an input."""
    step_s: float = dryrun.STEP_SECONDS
    total_s: float = dryrun.TOTAL_SECONDS
    monotonic: Callable[[], float] = time.monotonic

    def report(self) -> Report:
        """Return what each step would do. Steps beyond a limit are not dry-run."""
        self._calls = DryRunCalls(
            self.runner,
            self.workdir,
            self.paths,
            self.step_s,
            self.total_s,
            self.monotonic,
        )
        content = self.content
        pins = content.pins.values()
        versions = (pin["version_id"] for pin in pins if "version_id" in pin)
        self._pinned = skills.pinned(versions)
        levels = PlanLevels(content.document, content.inputs, content.included)
        previews = []
        for done, path in enumerate(content.order):
            if done < dryrun.MAX_STEPS:
                self.on_step(done)
            level, step = levels.at(path)
            preview = self._preview(level, step, done)
            if step.kind == PLAN:
                levels.enter(step, preview.summary if preview.skipped else "")
            previews.append(replace(preview, step=path))
        return Report(tuple(previews), tuple(self._calls.hit))

    def _preview(self, level: PlanLevel, step: StepDocument, done: int) -> StepPreview:
        foreseen = level.foreseen
        planned = level.document.by_id[owner_of(step.id)]
        try:
            if reason := level.skipped or foreseen.skipped(planned):
                return _named(step, step.kind, reason, skipped=True)
            notes = foreseen.notes(planned)
            if step is not planned:
                notes.append(f"It runs only if step {planned.id} fails for good.")
            if step.kind == CHOOSE:
                return _named(step, CHOOSE, foreseen.summary(step), notes=tuple(notes))
        except ConditionFailed as error:
            fails = f"Its condition cannot be evaluated: {error}"
            return _named(step, step.kind, "", fails=dryrun.cut(fails))
        preview = self._of_action(level, step, done)
        return replace(preview, notes=(*notes, *preview.notes))

    def _of_action(
        self, level: PlanLevel, step: StepDocument, done: int
    ) -> StepPreview:
        if (preview := self._without_action(level, step)) is not None:
            return preview
        try:
            self._calls.require_within_limits(done)
            if step.for_each is not None:
                return self._of_items(level, step, done)
            version, action = self._action(joined(level.path, step.id), step)
            params = self._params(level, step)
            preview, output = self._ask(step, version, action, params)
        except NotDryRun as reason:
            return _named(step, "none", str(reason))
        if preview.output_known:
            level.outputs[step.id] = output
        return preview

    def _without_action(
        self, level: PlanLevel, step: StepDocument
    ) -> StepPreview | None:
        """Return what a step that runs no action would do; None for other steps."""
        if step.kind == APPROVAL:
            level.outputs[step.id] = {"approved": True}
            return _named(step, APPROVAL, "Waits for approval.")
        if step.kind == INPUT:
            return self._of_input(level, step)
        if step.kind == WAIT:
            return _named(step, WAIT, waits.sentence(step, level.known_inputs))
        if step.kind == PLAN:
            pin = self.content.pins[joined(level.path, step.id)]
            summary = f"Runs plan {pin['plan']} revision {pin['revision']}."
            return _named(step, PLAN, summary)
        return None

    def _of_items(self, level: PlanLevel, step: StepDocument, done: int) -> StepPreview:
        """Dry-run the first items of a list, if it is known."""
        items = _items(level, step)
        version, action = self._action(joined(level.path, step.id), step)
        previews, outputs = [], []
        for index, item in enumerate(items[: dryrun.MAX_ITEMS]):
            self._calls.require_within_limits(done)
            names = dict(zip(iteration.names_of(step), (item, index), strict=True))
            params = self._params(level, step, names)
            preview, output = self._ask(step, version, action, params)
            previews.append(preview)
            outputs.append(output)
        whole = dryrun.of_items(step.id, str(action.dry_run), previews, len(items))
        if whole.output_known:
            level.outputs[step.id] = iteration.output_of(outputs, [])
        return replace(whole, skill=step.skill, action=step.action)

    @staticmethod
    def _of_input(level: PlanLevel, step: StepDocument) -> StepPreview:
        note = "Steps that use the answer cannot be dry-run: the form has no examples."
        if (values := asking.example_of(step.form or {})) is not None:
            level.outputs[step.id] = values
            note = (
                "Later steps were dry-run with the examples and defaults of the form."
            )
        return _named(step, INPUT, "Waits for an answer.", notes=(note,))

    def _action(self, path: str, step: StepDocument) -> tuple[Pinned, ActionContract]:
        wanted = self.content.pins[path]
        pin = self._pinned.get(wanted["version_id"])
        action = pin.contract.action(step.action) if pin else None
        if pin is None or action is None or pin.digest != wanted["digest"]:
            raise NotDryRun("Its skill version has changed since it was checked.")
        if not skills.usable(pin.skill_state, pin.version_state):
            raise NotDryRun("Its skill is no longer active.")
        if not skills.handler_fits(pin, action.handler):
            raise NotDryRun("The code on the worker is not the published code.")
        if action.dry_run is DryRunKind.NONE:
            raise NotDryRun("The action has no dry run.")
        return pin, action

    def _params(
        self, level: PlanLevel, step: StepDocument, item: Mapping[str, Any] = {}
    ) -> Any:
        try:
            return level.resolved(step.params, item)
        except Refusal:
            raise NotDryRun("It needs the output of an earlier step.") from None

    def _ask(
        self, step: StepDocument, pin: Pinned, action: ActionContract, params: Any
    ) -> tuple[StepPreview, Any]:
        """Return the preview of an action, and its output."""
        kind = str(action.dry_run)
        if wrong := input_problems(action, params):
            fails = f"Its parameters do not match the input schema: {'; '.join(wrong)}."
            return _named(step, kind, "", fails=dryrun.cut(fails)), None
        config = action.given(pin.contract.config)
        problems, notes = self._calls.target(action, params, config)
        answer = self._calls.call(CallKind.DRY_RUN, action, params, config)
        if isinstance(answer, TouchedSomething):
            summary = "Its dry run tried to change something and was stopped."
            touched = dryrun.cut(answer.what)
            return _named(step, kind, summary, touched=touched), None
        if not isinstance(answer, DryRunResult):
            return _named(step, kind, "", fails=message_of(answer)), None
        output = answer.output
        output_known = output is not None and len(json.dumps(output)) <= MAX_OUTPUT
        is_reported = any(answer.fails in problem for problem in problems)
        preview = _named(
            step,
            kind,
            "" if answer.fails else answer.summary,
            changes=dryrun.bounded(answer.changes),
            problems=dryrun.bounded(problems),
            fails="" if is_reported else dryrun.cut(answer.fails),
            notes=tuple(notes),
            output_known=output_known,
        )
        return preview, output


def _items(level: PlanLevel, step: StepDocument) -> list[Any]:
    """Return the items of a step.

    :raises NotDryRun: if the list is not known, or is no list
    """
    try:
        items = level.resolved(step.for_each)
    except Refusal:
        reason = f"Runs once for each item of {step.for_each}, known during the run."
        raise NotDryRun(reason) from None
    if not isinstance(items, list):
        raise NotDryRun(f"{step.for_each} is not a list.")
    return items


def _named(step: StepDocument, kind: str, summary: str, **findings: Any) -> StepPreview:
    return StepPreview(
        step=step.id,
        skill=step.skill or "",
        action=step.action or "",
        kind=kind,
        summary=dryrun.cut(summary),
        **findings,
    )
