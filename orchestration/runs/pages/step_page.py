"""The values of the page of one step."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import QuerySet

from execfabric.lib import canonical
from execfabric.lib.actor import Actor
from execfabric.lib.refusal import Missing
from orchestration.plans import selectors as plans
from orchestration.runs import selectors
from orchestration.runs.domain.states import FINAL_RUN, RunState, StepState
from orchestration.runs.engine import specs
from orchestration.runs.models import ArtifactUse, Attempt
from orchestration.runs.pages.run_page import StepLine
from orchestration.skills import selectors as skills
from orchestration.skills.domain.contract import ActionContract

AFTER_FAILURE = {
    "pause": "Resume the run to retry this step.",
    "continue": "The run continues without this step.",
    "abort": "The run ends as failed after its running steps finish.",
}
"""What happens to a run after a step has failed, by `onFailure` of its plan."""


@dataclass(frozen=True)
class StepDetails(StepLine):
    """A step as its page shows it."""

    on_failure: str
    """The `onFailure` of the plan."""
    action: ActionContract | None
    params: Any
    is_resolved: bool
    """True if `params` are the exact values that run, without references."""
    undo: dict[str, Any] | None
    attempts: QuerySet[Attempt]
    files: QuerySet[ArtifactUse]

    @property
    def happened(self) -> str:
        """Return if anything ran before the error, as a sentence."""
        row = self.row
        if not row.error or row.state == StepState.BACKOFF:
            return ""
        ran = row.error.get("ran")
        if ran is None and row.state == StepState.INDETERMINATE:
            return "The step started. It may or may not have taken effect."
        if ran is None:
            return "It is unknown if the step finished. It is safe to repeat."
        if not ran:
            return "Nothing was changed: the step failed before it took effect."
        if row.effect_class == "pure":
            return "Nothing was changed: this action is read-only."
        return "The step started, so some changes may have been made."

    @property
    def advice(self) -> str:
        """Return what to do about the error while the run has not ended."""
        row, has_ended = self.row, RunState(self.row.run.state) in FINAL_RUN
        if not row.error:
            return ""
        if row.state == StepState.BACKOFF:
            return "It is retried automatically."
        if row.state == StepState.INDETERMINATE:
            return "Check the target system, then resolve the outcome."
        if row.state != StepState.FAILED or has_ended or not self.action:
            return ""
        if self.on_failure != "pause":
            return AFTER_FAILURE[self.on_failure]
        may_remain = row.error.get("ran") and row.effect_class != "pure"
        target = " Check the target system." if may_remain else ""
        return f"Fix the cause.{target} {AFTER_FAILURE['pause']}"


def step_view(by: Actor, run_id: UUID, key: str) -> StepDetails:
    """Return one step for one reader.

    :raises RunUnknown: when there is no such run for `by`
    :raises StepUnknown: when the run has no such step
    """
    row = selectors.step(by, run_id, key)
    document = plans.document(row.run.revision)
    planned, pin = document.step(key), row.run.pins.get(key, {})
    pinned = skills.pinned([pin["version_id"]] if pin else [])
    version = pinned.get(pin.get("version_id", ""))
    contract = version.readable if version else None
    spec = {"params": planned.params}
    if row.spec is not None:
        spec = canonical.loads(bytes(row.spec.body))
    return StepDetails(
        row=row,
        step=planned,
        version=pin.get("version", ""),
        gate=selectors.gates_by_id(row.run, [row]).get(row.gate_id),
        on_failure=document.on_failure,
        action=version.action(planned.action) if version else None,
        params=spec.get("params", spec.get("context", {})),
        is_resolved=row.spec is not None,
        undo=specs.undo_of(planned, contract) if contract else None,
        attempts=row.attempts.order_by("fence"),
        files=row.artifact_uses.select_related("artifact").order_by("name", "pk"),
    )


def step_value(by: Actor, run_id: UUID, key: str, part: str) -> Any:
    """Return one whole value of a step: `params`, `output` or `undo`.

    :raises RunUnknown: when there is no such run for `by`
    :raises StepUnknown: when the run has no such step
    :raises Missing: when the step has no such value
    """
    view = step_view(by, run_id, key)
    undo = (view.undo or {}).get("params")
    value = {"params": view.params, "output": view.row.output, "undo": undo}.get(part)
    if value is None:
        raise Missing(f"Step {key!r} has no {part}.")
    return value
