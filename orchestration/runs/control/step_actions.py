"""What a user does about a failed step: retry, skip, complete by hand, fall back.

Each act is one event of the step, with the reason and the user. The run continues in
the same transaction if a failure has paused it and no other one is left.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from execfabric.identity.authority import require
from execfabric.lib.actor import Actor, ActorKind
from execfabric.lib.rights import Right
from execfabric.lib.text import is_visible
from orchestration.plans.domain.undo import is_undo
from orchestration.runs import selectors
from orchestration.runs.control import recovery
from orchestration.runs.control.control import hint_ready, require_control
from orchestration.runs.domain import guided, outcome
from orchestration.runs.domain.decider import TryAgain
from orchestration.runs.domain.guided import VERBS, OpenFailures, StepAct
from orchestration.runs.domain.members import SKIPPED_BY_USER
from orchestration.runs.domain.progress import StepStatus
from orchestration.runs.domain.results import result_digest
from orchestration.runs.domain.states import (
    Phase,
    RunEvent,
    RunState,
    StepEvent,
    StepState,
)
from orchestration.runs.engine import continuing, failures, subjects
from orchestration.runs.engine.advance import advance, carry_out
from orchestration.runs.engine.loading import LoadedRun
from orchestration.runs.engine.locking import locked_change
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.errors import (
    ActReasonRequired,
    EarlierAttemptUnknown,
    EvidenceRequired,
    OwnCompletion,
    StepActRefused,
    StepTriedSince,
)
from orchestration.runs.models import Run, StepRun

UNDO_ACTS = {
    StepAct.RETRY: "Retry of",
    StepAct.SKIP: "Skipped",
    StepAct.COMPLETE: "Completed by hand:",
}
"""Why a rollback continues after an act on an undo."""
MAY_LIVE = "Cannot retry the step: the worker of its last attempt may still be running."


@dataclass(frozen=True)
class Request:
    """An act on a failed step, as a user asked for it."""

    step_run_id: UUID
    reason: str
    by: Actor
    at: datetime
    generation: int | None = None
    """The generation of the step that the user saw, if they saw one."""


def retry(request: Request) -> StepRun:
    """Retry a failed step as a new generation.

    A list or sub-plan around it is retried too, if it failed only because of this step.

    :raises OldAttemptMayLive: when its last worker may still be running
    :raises Refusal: see `acting`
    """
    with acting(StepAct.RETRY, request) as (change, step):
        require_safe(StepAct.RETRY, step, RunState(change.run.state))
        return step


def skip(request: Request) -> StepRun:
    """Skip a failed step: the steps after it follow as they are declared.

    The run can no longer end as succeeded.

    :raises Refusal: see `acting`
    """
    with acting(StepAct.SKIP, request) as (change, step):
        message = f"{request.by.name} skipped the failed step: {request.reason}"
        cause = step.error or {}
        error = {
            "code": SKIPPED_BY_USER,
            "message": message,
            "ran": cause.get("ran"),
            "cause": cause,
        }
        fact = {"reason": request.reason, "error": cause}
        change.move_step(step, StepEvent.SKIPPED_BY_USER, fact, error=error)
        return step


def complete(
    request: Request, *, evidence: str, output: Mapping[str, Any] | None = None
) -> StepRun:
    """Complete a failed step by hand, with an output and without files.

    :raises EvidenceRequired: when the evidence is empty
    :raises RightMissing: when `by` may not resolve outcomes
    :raises OwnCompletion: when `by` proposed the run or wrote its plan
    :raises OutputInvalid: when the output does not match the schema of the action
    :raises ContractUnreadable: when a newer release wrote the skill version
    :raises Refusal: see `acting`
    """
    require(request.by, Right.INDETERMINATE)
    if not is_visible(evidence):
        raise EvidenceRequired
    with acting(StepAct.COMPLETE, request) as (change, step):
        require_may_complete(change.run, step, request.by)
        columns, missing = _output(change, step, output)
        fact = {
            "reason": request.reason,
            "evidence": evidence,
            "result": columns["output_digest"],
            "missing_files": missing,
        }
        # Another run must not reuse it as what the action returned.
        columns |= {"error": None, "reuse_digest": ""}
        change.move_step(step, StepEvent.COMPLETED_BY_HAND, fact, **columns)
        return step


def _output(
    change: RunChange, step: StepRun, output: Mapping[str, Any] | None
) -> tuple[dict[str, Any], list[str]]:
    """Return the columns of the output, and the files that are missing.

    No step uses the output of an undo, so it needs none.
    """
    if is_undo(step.key) and not output:
        return {"output": {}, "output_digest": result_digest({}, {})}, []
    return recovery.checked_output(change, step, output or {}, verb="complete")


def fall_back(request: Request) -> StepRun:
    """Run the fallback of a failed step for which it did not run by itself.

    :raises EarlierAttemptUnknown: when an attempt of the step may have taken effect
    :raises Refusal: see `acting`
    """
    with acting(StepAct.FALLBACK, request) as (change, step):
        require_safe(StepAct.FALLBACK, step, RunState(change.run.state))
        failures.begin_fallback(step, change, {"reason": request.reason})
        return step


def require_safe(act: StepAct, step: StepRun, run: RunState) -> None:
    """Check that nothing that an earlier attempt did can meet what an act starts.

    :raises OldAttemptMayLive: when the last worker may still be running
    :raises EarlierAttemptUnknown: when an attempt of the step may have taken effect
    """
    if act in {StepAct.RETRY, StepAct.EDIT}:
        last = step.attempts.order_by("-fence").first()
        if last is not None and last.phase == Phase.LOST:
            recovery.require_dead(step, MAY_LIVE)
    if act is StepAct.FALLBACK:
        effect_class = step.effect_class
        if outcome.must_be_known(
            effect_class, has_fallback=True, run=run
        ) and selectors.has_unknown_attempt(step):
            raise EarlierAttemptUnknown


def require_may_complete(run: Run, step: StepRun, by: Actor) -> None:
    """Check that `by` may complete a step by hand, which is like resolving an outcome.

    :raises RightMissing: when `by` may not resolve outcomes
    :raises OwnCompletion: when `by` proposed the run, wrote its plan, or asked for an undo
        that was rejected
    """
    require(by, Right.INDETERMINATE)
    if why := recovery.involved(run, by):
        raise OwnCompletion(
            f"You cannot complete a step of {recovery.OWN[why]} by hand."
            " Ask another operator or admin.",
            why=str(why),
        )
    is_rejected = is_undo(step.key) and step.state == StepState.REJECTED
    if is_rejected and by.key in subjects.rolled_back_by(run):
        raise OwnCompletion(
            "You cannot complete a rejected undo of a rollback that you began or"
            " continued. Ask another operator or admin."
        )


@contextmanager
def acting(act: StepAct, request: Request) -> Iterator[tuple[RunChange, StepRun]]:
    """Lock the run of a step, check that an act is legal, and let the run follow it.

    :raises StepUnknown: when it does not exist, or `by` may not see its run
    :raises NotControllable: when `by` may not control the run
    :raises ActReasonRequired: when the reason is empty
    :raises StepTriedSince: when the step is of another generation than the user saw
    :raises StepActRefused: when the act is not legal now
    """
    run_id = require_may_act(request)
    with locked_change(run_id, by=request.by, at=request.at) as change:
        step = change.step(request.step_run_id)
        require_legal(act, change.loaded, step)
        if request.generation not in {None, step.generation}:
            raise StepTriedSince(generation=step.generation)
        if is_undo(step.key):
            yield change, step
            _continue_rollback(act, change, step, request)
            return
        status = change.loaded.status(step)
        yield change, step
        if act is not StepAct.EDIT:  # that waits for its approval
            _follow(act, change, status, request)


def require_may_act(request: Request) -> UUID:
    """Check who asks for an act, and the reason; return the run of the step.

    :raises StepUnknown: when it does not exist, or `by` may not see its run
    :raises NotControllable: when `by` may not control the run
    :raises ActReasonRequired: when the reason is empty
    """
    by = request.by
    if by.kind is not ActorKind.USER:
        require(by, Right.CONTROL)
    run_id = selectors.run_of_step(by, request.step_run_id)
    require_control(run_id, by)
    if not is_visible(request.reason):
        raise ActReasonRequired
    return run_id


def require_legal(act: StepAct, loaded: LoadedRun, step: StepRun) -> None:
    """Check that an act on a step is legal now.

    :raises StepActRefused: when it is not
    """
    if reason := _refusal(act, loaded, step):
        raise StepActRefused(
            f"Cannot {VERBS[act]}: {reason[0].lower()}{reason[1:]}",
            act=str(act),
            state=str(step.state),
        )


def _refusal(act: StepAct, loaded: LoadedRun, step: StepRun) -> str:
    if is_undo(step.key):
        undo = loaded.status_of_undo(step)
        return guided.why_not_undo(act, undo, RunState(loaded.run.state))
    status, facts = loaded.status(step), facts_of(loaded.run)
    return guided.why_not(act, status, loaded.progress, run=facts, kind=step.kind)


def facts_of(run: Run) -> OpenFailures:
    """Return what decides whether a user may still act on the failures of a run."""
    return OpenFailures(RunState(run.state), run.failures, run.rollback_after)


def _continue_rollback(
    act: StepAct, change: RunChange, undo: StepRun, request: Request
) -> None:
    """Continue the rollback that an undo has stopped.

    :raises RollbackBlocked: when a step may still have an effect
    """
    reason = f"{UNDO_ACTS[act]} {change.loaded.title(undo)}: {request.reason}"
    retried = undo if act is StepAct.RETRY else None
    continuing.go_on(change, reason, retried=retried)
    advance(change)


def _follow(
    act: StepAct, change: RunChange, step: StepStatus, request: Request
) -> None:
    """Carry out what follows from an act, and let the run continue if it can."""
    why = {"reason": request.reason, "asked_for": step.name}
    for action in guided.following(act, step, change.loaded.progress):
        if act is StepAct.RETRY and isinstance(action, TryAgain):
            failures.try_again(change.step(action.key), change, why)
        else:
            carry_out([action], change)
    # A list or sub-plan may end now, and fail the run again.
    advance(change)
    if guided.may_go_on(
        RunState(change.run.state),
        change.run.reason,
        change.loaded.progress,
        proposer_active=change.loaded.proposer_active,
    ):
        change.move_run(RunEvent.RESUMED)
        hint_ready(change)
        advance(change)
