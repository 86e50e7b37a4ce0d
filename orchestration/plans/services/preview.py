"""The dry run of a whole plan: each action's own, in order, within bounds.

A step that needs the output of another is previewed when that one's dry run can say
its output; otherwise the report says why not. Runs in a worker only.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from execfabric.lib.refusal import Refusal
from orchestration.plans.domain import dryrun, references
from orchestration.plans.domain.document import PlanDocument, StepDocument
from orchestration.plans.domain.dryrun import APPROVAL, Limit, Report, StepPreview
from orchestration.skills import installed
from orchestration.skills import selectors as skills
from orchestration.skills.domain.contract import ActionContract, DryRunKind
from orchestration.skills.domain.outcome import DryRun
from orchestration.skills.errors import SecretMissing
from orchestration.skills.execution import (
    SECRET_WITHHELD,
    Answer,
    CallKind,
    Checked,
    DeadlinePassed,
    LimitPassed,
    NotSent,
    Runner,
    RunnerDied,
    TouchedSomething,
    WireCall,
    discard,
    input_problems,
    local_files,
    secret_names,
    withhold,
)
from orchestration.skills.selectors import Pinned
from orchestration.skills.services import secrets

LARGEST_OUTPUT = 256 * 1024
"""Bytes of a previewed output that later steps may refer to."""


@dataclass(frozen=True)
class Content:
    """What is dry-run: a plan, its inputs, and the skill versions it is bound to."""

    document: PlanDocument
    order: Sequence[str]
    inputs: Mapping[str, Any]
    pins: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Limits:
    """The bounds of one dry run."""

    steps: int = dryrun.MOST_STEPS
    step_s: float = dryrun.STEP_SECONDS
    total_s: float = dryrun.TOTAL_SECONDS
    deaths: int = dryrun.MOST_RUNNER_DEATHS


SILENT = frozenset({"skill.cannot_look", "skill.file_missing", "skill.no_handler"})
"""Codes of answers that say nothing about the step itself."""


class _NotKnown(Exception):
    """A step has no dry run that says anything; the message says why."""


@dataclass
class Previewer:
    """One dry run of one plan, all of its steps in one runner."""

    content: Content
    runner: Runner
    workdir: Path
    on_step: Callable[[int], None] = lambda _: None
    """Called with the number of steps done before each step."""
    limits: Limits = field(default_factory=Limits)
    monotonic: Callable[[], float] = time.monotonic
    _outputs: dict[str, Any] = field(default_factory=dict)
    _hit: list[Limit] = field(default_factory=list)
    _deaths: int = 0

    def report(self) -> Report:
        """Say what each step would do. Steps beyond a bound are not dry-run."""
        self._until = self.monotonic() + self.limits.total_s
        self._pinned = skills.pinned(
            pin["version_id"] for pin in self.content.pins.values()
        )
        steps = self.content.document.by_id()
        previews = []
        for done, key in enumerate(self.content.order):
            if done < self.limits.steps:
                self.on_step(done)
            previews.append(self._preview(steps[key], done))
        return Report(tuple(previews), tuple(self._hit))

    def _preview(self, step: StepDocument, done: int) -> StepPreview:
        if step.kind != "skill":
            self._outputs[step.id] = {"approved": True}
            return _named(step, APPROVAL, "People are asked.")
        try:
            self._require_bounds(done)
            pin, action = self._action(step)
            return self._ask(step, pin, action, self._params(step))
        except _NotKnown as reason:
            return _named(step, "none", str(reason))

    def _require_bounds(self, done: int) -> None:
        if done >= self.limits.steps:
            self._stop(Limit.STEPS)
        if self._deaths >= self.limits.deaths:
            self._stop(Limit.RUNNER)
        if self.monotonic() >= self._until:
            self._stop(Limit.SECONDS)

    def _stop(self, limit: Limit) -> None:
        if limit not in self._hit:
            self._hit.append(limit)
        raise _NotKnown(dryrun.LIMIT_SAYS[limit])

    def _action(self, step: StepDocument) -> tuple[Pinned, ActionContract]:
        """Return the action as it is pinned, if it may still be used here."""
        wanted = self.content.pins[step.id]
        pin = self._pinned.get(wanted["version_id"])
        action = pin.contract.action(step.action) if pin else None
        if pin is None or action is None or pin.digest != wanted["digest"]:
            raise _NotKnown("Its skill version has changed since it was checked.")
        if not skills.usable(pin.skill_state, pin.version_state):
            raise _NotKnown("Its skill was withdrawn.")
        if not skills.handler_fits(pin, action.handler):
            raise _NotKnown("Its code on the worker is not the published one.")
        if action.dry_run is DryRunKind.NONE:
            raise _NotKnown("The action has no dry run.")
        return pin, action

    def _params(self, step: StepDocument) -> Any:
        scope = references.Scope(
            self.content.inputs, {"id": "dry-run"}, self._outputs, {}
        )
        try:
            params = references.resolve(step.params, scope)
        except Refusal:
            raise _NotKnown("It needs the output of an earlier step.") from None
        if local_files(params):
            raise _NotKnown("It needs a file of an earlier step.")
        return params

    def _ask(
        self, step: StepDocument, pin: Pinned, action: ActionContract, params: Any
    ) -> StepPreview:
        if wrong := input_problems(action, params):
            fails = f"Its params do not satisfy the input schema: {'; '.join(wrong)}."
            return _named(step, str(action.dry_run), "", fails=dryrun.cut(fails))
        config = action.given(pin.contract.config)
        problems, notes = self._target(action, params, config)
        answer = self._call(CallKind.DRY_RUN, action, params, config)
        if isinstance(answer, TouchedSomething):
            summary = "Its dry run tried to change something and was stopped."
            touched = dryrun.cut(answer.what)
            return _named(step, str(action.dry_run), summary, touched=touched)
        if not isinstance(answer, DryRun):
            return _named(step, str(action.dry_run), "", fails=_said(answer))
        output = answer.output
        if output is not None and len(json.dumps(output)) > LARGEST_OUTPUT:
            output = None
        if output is not None:
            self._outputs[step.id] = output
        return _named(
            step,
            str(action.dry_run),
            "" if answer.fails else answer.summary,
            changes=dryrun.bounded(answer.changes),
            problems=dryrun.bounded(problems),
            fails=_unsaid(answer.fails, problems),
            notes=tuple(notes),
            output_known=output is not None,
        )

    def _target(
        self, action: ActionContract, params: Any, config: Any
    ) -> tuple[list[str], list[str]]:
        """Check the target; return what is wrong with it, and what was not checked."""
        if not action.checks_target:
            return [], []
        try:
            answer = self._call(CallKind.CHECK, action, params, config)
        except _NotKnown as reason:
            return [], [f"Its target was not checked. {reason}"]
        if isinstance(answer, Checked):
            return [f"{item.code}: {item.message}" for item in answer.problems], []
        return [_said(answer)], []

    def _call(
        self, kind: CallKind, action: ActionContract, params: Any, config: Any
    ) -> Answer:
        """Ask the handler.

        :raises _NotKnown: when it gave no answer, or may not have what it needs
        """
        left = self._until - self.monotonic()
        if left <= 0:
            self._stop(Limit.SECONDS)
        call = WireCall(
            handler=action.handler,
            params=params,
            config=withhold(config, but=action.dry_run_secrets),
            workdir=self.workdir,
            idempotency_key="dry-run",
            deadline_s=min(self.limits.step_s, left),
            kind=kind,
            allow=installed.allowance(action.handler),
            limits=action.limits,
        )
        try:
            answer = self.runner.complete(call, secrets=_readable(action, config))
        except DeadlinePassed as error:
            if left < self.limits.step_s:
                self._stop(Limit.SECONDS)
            self._deaths += 1
            raise _NotKnown(f"Its dry run was stopped: {error}") from None
        except (RunnerDied, NotSent) as error:
            self._deaths += 1
            raise _NotKnown(f"Its dry run did not work: {error}") from None
        except SecretMissing:
            # Without its message: the names of secrets are not for proposers.
            raise _NotKnown("It needs a secret that the worker has not.") from None
        finally:
            discard(self.workdir)
        return self._telling(answer)

    def _telling(self, answer: Answer) -> Answer:
        """Return an answer that says something about the step.

        :raises _NotKnown: for any other
        """
        if isinstance(answer, LimitPassed):
            self._deaths += 1
            raise _NotKnown(f"Its dry run was stopped: {answer.message}")
        code = getattr(answer, "code", "")
        if code == SECRET_WITHHELD:
            message = f"It needs a secret that dry runs do not get. {_said(answer)}"
            raise _NotKnown(message)
        if code in SILENT:
            raise _NotKnown(_said(answer))
        return answer


def _readable(
    action: ActionContract, config: Mapping[str, Any]
) -> Callable[[str], str]:
    """Return a reader of the secrets that the action declares for its dry run."""
    declared = {
        name for key in action.dry_run_secrets for name in secret_names(config.get(key))
    }

    def read(name: str) -> str:
        if name not in declared:
            message = f"The secret {name} is not declared for dry runs."
            raise SecretMissing(message, secret=name)
        return secrets.read(name)

    return read


def _unsaid(fails: str, problems: Sequence[str]) -> str:
    """Return the reason of a failure, unless the target check gave it already."""
    return "" if any(fails in problem for problem in problems) else dryrun.cut(fails)


def _said(answer: Any) -> str:
    return dryrun.cut(str(getattr(answer, "message", "It gave no answer.")))


def _named(step: StepDocument, kind: str, summary: str, **findings: Any) -> StepPreview:
    return StepPreview(
        step=step.id,
        skill=step.skill or "",
        action=step.action or "",
        kind=kind,
        summary=dryrun.cut(summary),
        **findings,
    )
