"""The dry run of a whole plan: each action's own, in order, as far as it can be known.

A step that needs what another would yield is previewed when that one's dry run can
say its output; otherwise the report says that it could not be.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from execfabric.lib.refusal import Refusal
from orchestration.plans.domain import references
from orchestration.plans.domain.document import StepDocument
from orchestration.plans.domain.dryrun import APPROVAL, Report, StepPreview
from orchestration.skills import builtin
from orchestration.skills.domain.contract import ActionContract, DryRunKind
from orchestration.skills.domain.outcome import DryRun
from orchestration.skills.errors import SecretMissing
from orchestration.skills.execution import (
    CallKind,
    DeadlinePassed,
    Runner,
    RunnerDied,
    TouchedSomething,
    WireCall,
    local_files,
)
from orchestration.skills.execution import (
    Checked as TargetChecked,
)
from orchestration.skills.services import secrets

if TYPE_CHECKING:
    from orchestration.plans.services.check import Checked

LIMIT_S = 20.0


class Previewer:
    """One dry run of one plan, in a runner of its own."""

    def __init__(
        self, folder: Path, checked: "Checked", inputs: Mapping[str, Any]
    ) -> None:
        self._runner = Runner(home=folder)
        self._folder = folder
        self._checked = checked
        self._inputs = inputs
        self._outputs: dict[str, Any] = {}

    def close(self) -> None:
        """End the runner."""
        self._runner.kill()

    def report(self) -> Report:
        """What each step would do."""
        document = self._checked.document
        steps = {step.id: step for step in document.steps} if document else {}
        previews = [self._preview(steps[key]) for key in self._checked.order]
        return Report(steps=tuple(previews))

    def _preview(self, step: StepDocument) -> StepPreview:
        entry = self._checked.entries.get(step.id)
        action = entry.contract.action(step.action) if entry and step.action else None
        if entry is None or action is None:
            self._outputs[step.id] = {"approved": True}
            return _said(step, APPROVAL, "People are asked.")
        if action.dry_run is DryRunKind.NONE:
            return _said(step, "none", "It cannot be known beforehand.")
        try:
            params = references.resolve(step.params, self._scope())
        except Refusal:
            return _said(step, "none", "It needs what an earlier step will yield.")
        if local_files(params):
            return _said(
                step, "none", "It needs a file that an earlier step will yield."
            )
        return self._ask(step, action, params, action.given(entry.contract.config))

    def _ask(
        self, step: StepDocument, action: ActionContract, params: Any, config: Any
    ) -> StepPreview:
        kind = str(action.dry_run)
        try:
            problems = self._problems(action, params, config)
            answer = self._call(CallKind.DRY_RUN, action, params, config)
        except (RunnerDied, DeadlinePassed, SecretMissing) as error:
            return _said(step, "none", f"Its dry run did not work: {error}")
        if isinstance(answer, TouchedSomething):
            summary = "Its dry run tried to change something and was stopped."
            return _said(step, kind, summary, touched=answer.what)
        if not isinstance(answer, DryRun):
            message = getattr(answer, "message", "it gave no answer")
            return _said(step, "none", f"Its dry run did not work: {message}")
        if answer.output is not None:
            self._outputs[step.id] = answer.output
        return StepPreview(
            step=step.id,
            skill=step.skill or "",
            action=action.name,
            kind=kind,
            summary=answer.summary,
            changes=tuple(answer.changes),
            touched="",
            problems=tuple(problems),
            output_known=answer.output is not None,
        )

    def _problems(self, action: ActionContract, params: Any, config: Any) -> list[str]:
        """What the target check finds: a target that is not there is said now."""
        if not action.checks_target:
            return []
        answer = self._call(CallKind.CHECK, action, params, config)
        if isinstance(answer, TargetChecked):
            return [f"{item.code}: {item.message}" for item in answer.problems]
        return []

    def _call(
        self, kind: CallKind, action: ActionContract, params: Any, config: Any
    ) -> Any:
        call = WireCall(
            handler=action.handler,
            params=params,
            config=config,
            workdir=self._folder / "work",
            idempotency_key="dry-run",
            deadline_s=LIMIT_S,
            kind=kind,
            allow=builtin.allowance(action.handler),
        )
        return self._runner.complete(call, secrets=secrets.read)

    def _scope(self) -> references.Scope:
        return references.Scope(self._inputs, {"id": "dry-run"}, self._outputs, {})


def _said(
    step: StepDocument, kind: str, summary: str, touched: str = ""
) -> StepPreview:
    return StepPreview(
        step=step.id,
        skill=step.skill or "",
        action=step.action or "",
        kind=kind,
        summary=summary,
        changes=(),
        touched=touched,
        problems=(),
        output_known=False,
    )
