"""Dry-run a whole plan: the dry run of each action, in order, within limits.

A step that needs the output of another can be dry-run only if the other's dry run
returns its output; otherwise the report says why not. Runs in a worker only.
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

MAX_OUTPUT = 256 * 1024
"""Bytes of a dry run's output that later steps may refer to."""


@dataclass(frozen=True)
class Content:
    """A plan, its inputs, and the skill versions it is bound to."""

    document: PlanDocument
    order: Sequence[str]
    inputs: Mapping[str, Any]
    pins: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Limits:
    """The limits of one dry run."""

    steps: int = dryrun.MAX_STEPS
    step_s: float = dryrun.STEP_SECONDS
    total_s: float = dryrun.TOTAL_SECONDS
    deaths: int = dryrun.MAX_RUNNER_DEATHS


INCONCLUSIVE = frozenset(
    {"skill.cannot_look", "skill.file_missing", "skill.no_handler"}
)
"""Codes of answers that say nothing about the step itself."""


class _NotDryRun(Exception):
    """A step could not be dry-run; the message says why."""


@dataclass
class Previewer:
    """One dry run of a plan, with one runner for all of its steps."""

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
        """Return what each step would do. Steps beyond a limit are not dry-run."""
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
            return _named(step, APPROVAL, "Waits for approval.")
        try:
            self._require_within_limits(done)
            pin, action = self._action(step)
            return self._ask(step, pin, action, self._params(step))
        except _NotDryRun as reason:
            return _named(step, "none", str(reason))

    def _require_within_limits(self, done: int) -> None:
        if done >= self.limits.steps:
            self._stop(Limit.STEPS)
        if self._deaths >= self.limits.deaths:
            self._stop(Limit.RUNNER)
        if self.monotonic() >= self._until:
            self._stop(Limit.SECONDS)

    def _stop(self, limit: Limit) -> None:
        if limit not in self._hit:
            self._hit.append(limit)
        raise _NotDryRun(dryrun.LIMIT_MESSAGES[limit])

    def _action(self, step: StepDocument) -> tuple[Pinned, ActionContract]:
        """Return the pinned action, if it may still be used here."""
        wanted = self.content.pins[step.id]
        pin = self._pinned.get(wanted["version_id"])
        action = pin.contract.action(step.action) if pin else None
        if pin is None or action is None or pin.digest != wanted["digest"]:
            raise _NotDryRun("Its skill version has changed since it was checked.")
        if not skills.usable(pin.skill_state, pin.version_state):
            raise _NotDryRun("Its skill is no longer active.")
        if not skills.handler_fits(pin, action.handler):
            raise _NotDryRun("The code on the worker is not the published code.")
        if action.dry_run is DryRunKind.NONE:
            raise _NotDryRun("The action has no dry run.")
        return pin, action

    def _params(self, step: StepDocument) -> Any:
        scope = references.Scope(
            self.content.inputs, {"id": "dry-run"}, self._outputs, {}
        )
        try:
            params = references.resolve(step.params, scope)
        except Refusal:
            raise _NotDryRun("It needs the output of an earlier step.") from None
        if local_files(params):
            raise _NotDryRun("It needs a file from an earlier step.")
        return params

    def _ask(
        self, step: StepDocument, pin: Pinned, action: ActionContract, params: Any
    ) -> StepPreview:
        if wrong := input_problems(action, params):
            fails = f"Its parameters do not match the input schema: {'; '.join(wrong)}."
            return _named(step, str(action.dry_run), "", fails=dryrun.cut(fails))
        config = action.given(pin.contract.config)
        problems, notes = self._target(action, params, config)
        answer = self._call(CallKind.DRY_RUN, action, params, config)
        if isinstance(answer, TouchedSomething):
            summary = "Its dry run tried to change something and was stopped."
            touched = dryrun.cut(answer.what)
            return _named(step, str(action.dry_run), summary, touched=touched)
        if not isinstance(answer, DryRun):
            return _named(step, str(action.dry_run), "", fails=_message(answer))
        output = answer.output
        if output is not None and len(json.dumps(output)) > MAX_OUTPUT:
            output = None
        if output is not None:
            self._outputs[step.id] = output
        return _named(
            step,
            str(action.dry_run),
            "" if answer.fails else answer.summary,
            changes=dryrun.bounded(answer.changes),
            problems=dryrun.bounded(problems),
            fails=_unless_reported(answer.fails, problems),
            notes=tuple(notes),
            output_known=output is not None,
        )

    def _target(
        self, action: ActionContract, params: Any, config: Any
    ) -> tuple[list[str], list[str]]:
        """Check the target; return its problems, and notes on what was not checked."""
        if not action.checks_target:
            return [], []
        try:
            answer = self._call(CallKind.CHECK, action, params, config)
        except _NotDryRun as reason:
            return [], [f"Its target was not checked. {reason}"]
        if isinstance(answer, Checked):
            return [f"{item.code}: {item.message}" for item in answer.problems], []
        return [_message(answer)], []

    def _call(
        self, kind: CallKind, action: ActionContract, params: Any, config: Any
    ) -> Answer:
        """Call the handler.

        :raises _NotDryRun: if it gave no answer, or may not have what it needs
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
            raise _NotDryRun(f"Its dry run was stopped: {error}") from None
        except (RunnerDied, NotSent) as error:
            self._deaths += 1
            raise _NotDryRun(f"Its dry run failed: {error}") from None
        except SecretMissing:
            # Without the message, because proposers must not see names of secrets.
            raise _NotDryRun(
                "It needs a secret that the worker does not have."
            ) from None
        finally:
            discard(self.workdir)
        return self._conclusive(answer)

    def _conclusive(self, answer: Answer) -> Answer:
        """Return the answer if it says something about the step.

        :raises _NotDryRun: if not
        """
        if isinstance(answer, LimitPassed):
            self._deaths += 1
            raise _NotDryRun(f"Its dry run was stopped: {answer.message}")
        code = getattr(answer, "code", "")
        if code == SECRET_WITHHELD:
            message = f"It needs a secret that dry runs do not get. {_message(answer)}"
            raise _NotDryRun(message)
        if code in INCONCLUSIVE:
            raise _NotDryRun(_message(answer))
        return answer


def _readable(
    action: ActionContract, config: Mapping[str, Any]
) -> Callable[[str], str]:
    """Return a function that reads the secrets declared for the dry run."""
    declared = {
        name for key in action.dry_run_secrets for name in secret_names(config.get(key))
    }

    def read(name: str) -> str:
        if name not in declared:
            message = f"The secret {name} is not declared for dry runs."
            raise SecretMissing(message, secret=name)
        return secrets.read(name)

    return read


def _unless_reported(fails: str, problems: Sequence[str]) -> str:
    """Return the reason of a failure, unless the target check reported it."""
    return "" if any(fails in problem for problem in problems) else dryrun.cut(fails)


def _message(answer: Any) -> str:
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
