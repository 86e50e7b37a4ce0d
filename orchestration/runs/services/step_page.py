"""What the pages show of one step: its line in the list, its values and its error."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from execfabric.console.values import Excerpt, excerpt
from execfabric.lib import canonical
from execfabric.lib.actor import Actor
from execfabric.lib.refusal import Missing
from orchestration.runs import selectors
from orchestration.runs.domain.states import FINAL_RUN, RunState, StepState
from orchestration.runs.models import StepRun
from orchestration.runs.selectors import StepDetail
from orchestration.runs.services import specs

AFTER_FAILURE = {
    "pause": "Resuming the paused run tries it again.",
    "continue": "The run goes on without this step.",
    "abort": "The run ends as failed when its running steps have finished.",
}
"""What becomes of a run with a failed step, by what its plan says."""


@dataclass(frozen=True)
class StepView:
    """A step with its values, as its details show it."""

    detail: StepDetail
    params: Excerpt
    is_resolved: bool
    """Whether the params are the very values that run, or still hold references."""
    output: Excerpt | None
    undo: dict[str, Any] | None
    undo_params: Excerpt | None
    happened: str
    """For an error: whether anything ran."""
    advice: str

    @property
    def row(self) -> StepRun:
        return self.detail.row


def step_view(by: Actor, run_id: UUID, key: str) -> StepView:
    """One step for one reader.

    :raises RunUnknown: when there is no such run for `by`
    :raises StepUnknown: when the run has no such step
    """
    found = selectors.step(by, run_id, key)
    params, is_resolved = step_params(found)
    undo, output = step_undo(found), found.row.output
    happened, advice = _after_error(found)
    return StepView(
        detail=found,
        params=excerpt(params),
        is_resolved=is_resolved,
        output=None if output is None else excerpt(output),
        undo=undo,
        undo_params=excerpt(undo["params"]) if undo else None,
        happened=happened,
        advice=advice,
    )


def step_value(by: Actor, run_id: UUID, key: str, part: str) -> Any:
    """One whole value of a step: `params`, `output` or `undo`.

    :raises RunUnknown: when there is no such run for `by`
    :raises StepUnknown: when the run has no such step
    :raises Missing: when the step has no such value
    """
    found = selectors.step(by, run_id, key)
    undo = step_undo(found) or {}
    value = {
        "params": step_params(found)[0],
        "output": found.row.output,
        "undo": undo.get("params"),
    }.get(part)
    if value is None:
        raise Missing(f"The step has no {part}.")
    return value


def step_params(found: StepDetail) -> tuple[Any, bool]:
    """The params of a step, and whether they are the very values that run."""
    if found.row.spec is None:
        return found.step.params, False
    value = canonical.loads(bytes(found.row.spec.body))
    return value.get("params", value.get("context", {})), True


def step_undo(found: StepDetail) -> dict[str, Any] | None:
    """The declared undo of a step."""
    return specs.undo_of(found.step, found.contract) if found.contract else None


def _after_error(found: StepDetail) -> tuple[str, str]:
    """Whether anything ran, and what to do, as sentences."""
    row = found.row
    if not row.error:
        return "", ""
    ran = row.error.get("ran")
    pure = row.effect_class == "pure"
    if ran is None and row.state == StepState.INDETERMINATE:
        happened = "Nobody can know from here whether it happened."
        return happened, "Look at the target, then say what you found."
    if row.state == StepState.BACKOFF:
        return "", "It is tried again by itself."
    if ran is None:
        happened = (
            "Whether it ran to its end is not known; running it again is harmless."
        )
    elif not ran:
        happened = "Nothing was changed: it failed before its effect began."
    elif pure:
        happened = "It ran and changed nothing: this action only reads."
    else:
        happened = "It ran, so parts of its effect may be there."
    return happened, _advice(found, may_remain=bool(ran) and not pure)


def _advice(found: StepDetail, *, may_remain: bool) -> str:
    """What to do about a failed step while its run has not ended."""
    row = found.row
    over = RunState(row.run.state) in FINAL_RUN
    if row.state != StepState.FAILED or over or not found.action:
        return ""
    if found.on_failure != "pause":
        return AFTER_FAILURE[found.on_failure]
    target = " Look at its target first." if may_remain else ""
    return f"Fix the cause.{target} {AFTER_FAILURE['pause']}"
