"""Claim, intent, complete: the three transactions of an attempt.

A worker that completes a step claims the next ready one of the same run in the same
transaction, so a chain needs no message between its steps.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from audit.services import RowFact
from execfabric import database, disk
from execfabric.lib import canonical
from execfabric.lib.actor import Actor
from execfabric.lib.ids import span_id
from orchestration.runs import history, selectors
from orchestration.runs.domain import retry
from orchestration.runs.domain.results import (
    Failure,
    Finished,
    Lost,
    Result,
    result_digest,
)
from orchestration.runs.domain.states import (
    Phase,
    RunState,
    StepEvent,
    StepState,
)
from orchestration.runs.models import Attempt, StepRun
from orchestration.runs.services import checks, specs, store
from orchestration.runs.services.advance import advance, progress_of
from orchestration.runs.services.loading import Memory
from orchestration.runs.services.specs import Spec
from orchestration.runs.services.transitions import LEASE, Change, change
from orchestration.skills.domain.contract import ActionContract, EffectClass, RetryRule


@dataclass(frozen=True)
class Grip:
    """A worker's hold on one attempt: valid as long as the fence is."""

    run_id: UUID
    step_run_id: UUID
    key: str
    fence: int
    spec: dict[str, Any]
    action: ActionContract
    idempotency_key: str
    session: str
    """The id of the attempt within the trace."""
    intent: bool
    """Whether the intent is committed: the effect may follow."""


_RUN_OF_READY = "SELECT run_id FROM runs_steprun WHERE id = %s AND state = 'ready'"


def claim(
    *,
    step_run_id: UUID,
    worker: str,
    by: Actor,
    at: datetime,
    memory: Memory | None = None,
) -> Grip | None:
    """Take a ready step run; None when the hint was stale, doubled or forged.

    None too while the disk is almost full: the keeper hints again.
    """
    if disk.shortage():
        return None
    found = database.row(_RUN_OF_READY, [step_run_id])
    if found is None:
        return None
    with change(found[0], by=by, at=at, memory=memory) as opened:
        step = opened.step_by_id(step_run_id)
        if step.state != StepState.READY or opened.run.state != RunState.RUNNING:
            return None
        if not progress_of(opened).may_start():
            return None
        grip = _take(opened, step, worker=worker)
        advance(opened)
        return grip


def intend(
    grip: Grip, *, by: Actor, at: datetime, memory: Memory | None = None
) -> bool:
    """Commit the intent of a prepared attempt; False when it must not run."""
    with change(grip.run_id, by=by, at=at, memory=memory) as opened:
        step = opened.step_by_id(grip.step_run_id)
        if not _holds(step, grip):
            return False
        if opened.run.state != RunState.RUNNING:
            _give_back(opened, step, session=grip.session)
            advance(opened)
            return False
        allowed = _intend(opened, step)
        if not allowed:
            advance(opened)
        return allowed


def complete(
    grip: Grip,
    result: Result,
    *,
    worker: str,
    by: Actor,
    at: datetime,
    memory: Memory | None = None,
    logged: bool = True,
) -> Grip | None:
    """Record how an attempt ended, let the run go on, and take a ready step of it.

    `logged` says whether it may have written a log, whose digest is then recorded.
    A result whose fence has passed is kept as evidence and changes nothing.
    """
    with change(grip.run_id, by=by, at=at, memory=memory) as opened:
        step = opened.step_by_id(grip.step_run_id)
        if not _holds(step, grip):
            _late(opened, step, grip, result)
            return None
        log = selectors.log_digest(step.id, grip.fence) if logged else ""
        _finish(opened, step, result, session=grip.session, log=log)
        advance(opened)
        return _take_next(opened, worker=worker)


def _holds(step: StepRun, grip: Grip) -> bool:
    return step.state == StepState.RUNNING and step.fence == grip.fence


def _take_next(opened: Change, *, worker: str) -> Grip | None:
    """Take any ready step, so that a run goes on although its hints may be lost."""
    if disk.shortage():
        return None
    while (step := _first_ready(opened)) is not None:
        grip = _take(opened, step, worker=worker)
        if grip is not None:
            return grip
        advance(opened)
    return None


def _first_ready(opened: Change) -> StepRun | None:
    if opened.run.state != RunState.RUNNING:
        return None
    startable = progress_of(opened).startable(limit=1)
    return opened.step(startable[0]) if startable else None


def _take(opened: Change, step: StepRun, *, worker: str) -> Grip | None:
    """Claim, and where nothing needs to be fetched first, intend at once."""
    fence = step.fence + 1
    attempt = Attempt(
        step_run=step,
        fence=fence,
        generation=step.generation,
        worker=worker,
        phase=Phase.CLAIMED,
        spec_id=str(step.spec_id),
        session_id=span_id(),
        started_at=opened.at,
    )
    opened.move_step(
        step,
        StepEvent.CLAIMED,
        {"fence": fence, "worker": worker},
        session=attempt.session_id,
        rows=[history.ATTEMPT.born(attempt)],
        fence=fence,
        tries=step.tries + 1,
        worker=worker,
        lease_until=LEASE,
        started_at=step.started_at or opened.at,
        not_before=None,
    )
    opened.add_attempt(attempt)
    spec = checks.passed(opened, step, attempt)
    if spec is None or spec.action is None:
        return None
    needs_fetching = bool(spec.value["files"])
    if not needs_fetching:
        _commit_intent(opened, step, spec, attempt)
    return Grip(
        run_id=opened.run.id,
        step_run_id=step.id,
        key=step.key,
        fence=fence,
        spec=spec.value,
        action=spec.action,
        idempotency_key=_idempotency_key(opened, step),
        session=attempt.session_id,
        intent=not needs_fetching,
    )


def _idempotency_key(opened: Change, step: StepRun) -> str:
    return canonical.digest_of(
        "execfabric/idempotency/v1",
        {"run": str(opened.run.id), "step": step.key, "generation": step.generation},
    )


def _intend(opened: Change, step: StepRun) -> bool:
    attempt = Attempt.objects.get(step_run=step, fence=step.fence)
    spec = checks.passed(opened, step, attempt)
    if spec is not None:
        _commit_intent(opened, step, spec, attempt)
    attempt.save()
    return spec is not None


def _commit_intent(opened: Change, step: StepRun, spec: Spec, attempt: Attempt) -> None:
    attempt.phase, attempt.intent_at = Phase.INTENT, opened.at
    fact = {
        "fence": attempt.fence,
        "digest": spec.digest,
        "session": attempt.session_id,
    }
    values = {"phase": attempt.phase, "intent_at": attempt.intent_at}
    opened.record(
        "attempt.intent",
        fact,
        step=step.key,
        session=attempt.session_id,
        rows=history.attempt_changed(step, attempt.fence, values),
    )


def _give_back(opened: Change, step: StepRun, *, session: str) -> None:
    """A claimed step whose run stopped meanwhile: no effect has happened."""
    reason = {"reason": "The run is not running."}
    rows = _end_attempt(opened, step, Phase.FENCED, reason)
    opened.move_step(
        step, StepEvent.LEASE_LOST, session=session, rows=rows, tries=step.tries - 1
    )


def _end_attempt(
    opened: Change, step: StepRun, phase: Phase, result: Any = None, *, log: str = ""
) -> tuple[RowFact]:
    """Write how an attempt ended; return the columns for the event that says so."""
    ended = {"phase": phase, "ended_at": opened.at, "result": result}
    opened.add(store.end_attempt(step.id, step.fence, **ended))
    return history.attempt_changed(step, step.fence, ended, log=log)


def _finish(
    opened: Change, step: StepRun, result: Result, *, session: str, log: str
) -> None:
    if isinstance(result, Finished):
        try:
            digest = result_digest(result.output, result.files)
        except canonical.NotCanonical as error:
            # Or nobody would ever hear of an effect that has happened.
            invalid = Failure("skill.output_invalid", error.message)
            _finish(opened, step, invalid, session=session, log=log)
            return
        payload = {
            "fence": step.fence,
            "result": digest,
            "files": _names(result.files),
        }
        if result.masked:
            names = ", ".join(result.masked)
            payload["masked"] = list(result.masked)
            payload["message"] = f"Secrets were masked in {names}."
        opened.move_step(
            step,
            StepEvent.SUCCEEDED,
            payload,
            session=session,
            rows=_end_attempt(opened, step, Phase.DONE, log=log),
            output=result.output,
            files=result.files,
            output_digest=digest,
            error=None,
        )
        return
    fact = result.as_fact()
    phase = Phase.LOST if isinstance(result, Lost) else Phase.FAILED
    rows = _end_attempt(opened, step, phase, fact, log=log)
    event, payload, fields = _after_failure(opened, step, result)
    opened.move_step(
        step,
        event,
        {"error": fact, **payload},
        session=session,
        rows=rows,
        error=fact,
        **fields,
    )


def _after_failure(
    opened: Change, step: StepRun, result: Failure | Lost
) -> tuple[StepEvent, dict[str, Any], dict[str, Any]]:
    """What becomes of the step: the event, more of its payload, the fields to set."""
    if isinstance(result, Lost):
        return StepEvent.OUTCOME_UNKNOWN, {}, {}
    if opened.run.state == RunState.CANCELLING and result.killed:
        return StepEvent.CANCELLED, {}, {}
    if result.again and step.tries < step.max_attempts:
        wait = retry.delay(rule_of(opened, step), tries=step.tries)
        payload = {"wait_s": wait.total_seconds()}
        return StepEvent.RETRY_LATER, payload, {"not_before": opened.at + wait}
    return StepEvent.FAILED, {}, {}


def rule_of(opened: Change, step: StepRun) -> RetryRule:
    """The retry rule in force: the plan's, else the action's."""
    planned = opened.plan_step(step.key)
    if planned.retry is not None:
        return planned.retry
    action = specs.action_of(opened, step.key)
    return action.retry if action else RetryRule()


def may_rerun(effect_class: str) -> bool:
    """Whether a step whose worker died after intent may simply run again."""
    return effect_class in {EffectClass.PURE, EffectClass.IDEMPOTENT}


def _names(files: dict[str, Any]) -> list[str]:
    return sorted(files)


def _late(opened: Change, step: StepRun, grip: Grip, result: Result) -> None:
    fact = result.as_fact()
    Attempt.objects.filter(step_run_id=step.id, fence=grip.fence).update(result=fact)
    opened.record(
        "attempt.late_result",
        {"fence": grip.fence, "result": fact},
        step=step.key,
        session=grip.session,
        rows=history.attempt_changed(step, grip.fence, {"result": fact}),
    )
