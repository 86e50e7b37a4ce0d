"""Carry out what follows a failed step: another try of it, or its fallback.

A fallback is a step run of its own. When it has finished, the step has its outcome.
"""

from collections.abc import Mapping
from typing import Any

from execfabric.lib.refusal import Refusal
from orchestration.plans.domain import fallbacks
from orchestration.runs.domain.progress import FALLBACK_FAILED
from orchestration.runs.domain.results import ABANDONED
from orchestration.runs.domain.states import StepEvent, StepState
from orchestration.runs.engine import artifacts, ends, scopes
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.models import StepRun


def begin_fallback(
    step: StepRun, change: RunChange, why: Mapping[str, Any] | None = None
) -> None:
    """Add the fallback of a failed step to the run, or retry it with the step.

    `why` is recorded with it, if a user asked for it.
    """
    change.require_lock()
    key = fallbacks.key_of(step.key)
    planned = change.loaded.plan_of(step).by_key[key]
    fact = {
        "fallback": key,
        "skill": planned.skill,
        "action": planned.action,
        "error": step.error,
        **(why or {}),
    }
    known = change.loaded.progress.fallback_of(step.id)
    if known is not None:
        change.move_step(step, StepEvent.FELL_BACK, fact)
        try_again(change.step(known.key), change)
        return
    fallback = _fallback(change, step, key)
    change.expand(step, [fallback], fact, event=StepEvent.FELL_BACK)


def _fallback(change: RunChange, step: StepRun, key: str) -> StepRun:
    pin = change.run.pins[fallbacks.key_of(change.loaded.path(step))]
    action = change.loaded.pinned[pin["version_id"]].action(pin["action"])
    return StepRun(
        run=change.run,
        key=key,
        item=step.item,
        item_value=step.item_value,
        parent=step,
        position=len(change.steps),
        effect_class=str(action.effect_class) if action else "pure",
        max_attempts=action.retry.attempts if action else 1,
    )


def try_again(
    step: StepRun, change: RunChange, why: Mapping[str, Any] | None = None
) -> None:
    """Retry a failed step as a new generation.

    A container with members keeps what it was expanded with. `why` is recorded with it,
    if a user asked for it.

    :raises RuntimeError: when the step was abandoned: a second try could repeat its effect
    """
    if (step.error or {}).get("code") == ABANDONED:
        raise RuntimeError(f"step {step.key} was abandoned")
    generation = step.generation + 1
    columns: dict[str, Any] = {"generation": generation, "error": None}
    if not change.loaded.progress.members(step.id):
        columns |= {
            "tries": 0,
            "spec_id": None,
            "gate_id": None,
            "condition": None,
            "not_before": None,
            "admitted_at": None,
        }
    fact = {"generation": generation, **(why or {})}
    change.move_step(step, StepEvent.RETRIED, fact, **columns)


def end_fallback(step: StepRun, change: RunChange) -> None:
    """Give a step the outcome of its fallback, which has finished."""
    known = change.loaded.progress.fallback_of(step.id)
    if known is None:
        return
    fallback = change.step(known.key)
    match known.state:
        case StepState.SUCCEEDED:
            _succeed(step, fallback, change)
        case StepState.REJECTED:
            change.move_step(step, StepEvent.GATE_REJECTED, error=fallback.error)
        case StepState.CANCELLED:
            change.move_step(step, StepEvent.CANCELLED)
        case _:
            _fail(step, fallback.error or {}, change)


def _succeed(step: StepRun, fallback: StepRun, change: RunChange) -> None:
    """Complete a step with the output and files of its fallback."""
    try:
        output, files = scopes.results_of(change, [fallback])[fallback.id]
    except Refusal as error:
        _fail(step, {"message": error.message, "ran": False}, change)
        return
    if files:
        change.require_lock()
        artifacts.use_files(step, files)
    change.move_step(
        step,
        StepEvent.SUCCEEDED,
        {
            "fallback": fallback.key,
            "used_fallback": True,
            "result": fallback.output_digest,
            "files": sorted(files),
        },
        output=output,
        files=files,
        output_digest=fallback.output_digest,
        used_fallback=True,
        error=None,
    )


def _fail(step: StepRun, cause: dict[str, Any], change: RunChange) -> None:
    own = step.error or {}
    message = (
        f"{own.get('message', '')} Its fallback failed too: {cause.get('message', '')}"
    )
    effects = [own.get("ran"), cause.get("ran")]
    ran = None if None in effects else False
    ran = True if True in effects else ran
    # Another try of the step would try its fallback again.
    is_abandoned = cause.get("code") == ABANDONED
    code = ABANDONED if is_abandoned else FALLBACK_FAILED
    ends.fail(change, step, code, message.strip(), ran=ran)
