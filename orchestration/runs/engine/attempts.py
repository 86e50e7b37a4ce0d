"""Claim and complete: the two transactions of an attempt.

A claim commits the intent: the effect may follow. A worker that completes a step claims
the next ready one of the same run in the same transaction, so a chain needs no message
between its steps. Both may be repeated when their answer was lost: the session of the
attempt, which the worker chooses, tells its own commit from another's.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from execfabric.infra import database, disk
from execfabric.lib import canonical
from execfabric.lib.actor import Actor
from orchestration.runs import selectors
from orchestration.runs.domain import outcome
from orchestration.runs.domain.results import Finished, Result, recordable
from orchestration.runs.domain.states import (
    AttemptEvent,
    Phase,
    RunEvent,
    RunState,
    StepEvent,
    StepState,
)
from orchestration.runs.engine import checks, specs
from orchestration.runs.engine.advance import advance
from orchestration.runs.engine.loading import Memory
from orchestration.runs.engine.transitions import Change, change, in_turn
from orchestration.runs.models import Attempt, StepRun
from orchestration.skills.domain.contract import ActionContract, RetryRule


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


_RUN_OF = (
    "SELECT run_id FROM runs_steprun WHERE id = %s AND state IN ('ready', 'running')"
)


def claim(
    *,
    step_run_id: UUID,
    worker: str,
    session: str,
    by: Actor,
    at: datetime,
    memory: Memory | None = None,
) -> Grip | None:
    """Take a ready step run; None when the hint was stale, doubled or forged.

    None too while the disk is almost full: the keeper hints again. With a session that
    has it already, the hold on it is returned again.
    """
    if disk.shortage():
        return None
    found = database.row(_RUN_OF, [step_run_id])
    if found is None:
        return None
    # Read in full, so that it starts from nothing but what is stored now.
    with change(found[0], by=by, at=at) as opened:
        step = opened.step(step_run_id)
        if step.state == StepState.RUNNING:
            return _adopted(opened, session)
        if not _may_start(opened, step):
            return None
        grip = _take(opened, step, worker=worker, session=session)
        advance(opened)
    if memory is not None:
        memory.keep(opened.loaded)
    return grip


def complete(
    grip: Grip,
    result: Result,
    *,
    worker: str,
    session: str,
    by: Actor,
    at: datetime,
    memory: Memory | None = None,
    logged: bool = True,
) -> Grip | None:
    """Record how an attempt ended, let the run go on, and take a ready step of it.

    `session` is that of the next attempt; without one, none is taken. `logged` says whether this one may have
    written a log, whose digest is then recorded. A result whose fence has passed is
    recorded as evidence and changes nothing else.
    """
    result = recordable(result)

    def act(opened: Change) -> Grip | None:
        step = opened.step(grip.step_run_id)
        if not _holds(step, grip):
            opened.need_lock()
            if _is_recorded(step, grip, result):
                return _adopted(opened, session) if session else None
            _late(opened, step, grip, result)
            return None
        log = selectors.log_digest(step.id, grip.fence) if logged else ""
        _finish(opened, step, result, session=grip.session, log=log)
        advance(opened)
        return _take_next(opened, worker=worker, session=session)

    known = memory if memory is not None else Memory(0)
    following: Grip | None = in_turn(grip.run_id, act, by=by, at=at, memory=known)
    return following


_OF_SESSION = """
SELECT step.run_id, step.id, step.fence FROM runs_steprun AS step
JOIN runs_attempt AS attempt
  ON attempt.step_run_id = step.id AND attempt.fence = step.fence
WHERE step.state IN ('running', 'indeterminate') AND attempt.session_id = %s
"""


def not_started(session: str, evidence: str, *, by: Actor, at: datetime) -> bool:
    """Give a step back whose attempt certainly never began; return False if it is over.

    It is ready again, also where its outcome was taken for unknown meanwhile, and a run
    that was paused for that goes on; in a run that has ended it is cancelled.
    """
    found = database.row(_OF_SESSION, [session])
    if found is None:
        return False
    run_id, step_run_id, fence = found
    with change(run_id, by=by, at=at) as opened:
        step = opened.step(step_run_id)
        unknown = step.state == StepState.INDETERMINATE
        if step.fence != fence or not (unknown or step.state == StepState.RUNNING):
            return False
        fact = {"fence": fence, "evidence": evidence}
        rows = (
            []
            if unknown
            else [opened.end_attempt(step, AttemptEvent.NOT_STARTED, fact)]
        )
        opened.move_step(
            step,
            outcome.of_not_started(RunState(opened.run.state)),
            fact,
            session=session,
            rows=rows,
            tries=step.tries - 1,
            error=None,
        )
        state = RunState(opened.run.state)
        if unknown and outcome.was_paused_for(step.key, state, opened.run.reason):
            opened.move_run(RunEvent.RESUMED)
        advance(opened)
        return True


def _holds(step: StepRun, grip: Grip) -> bool:
    return step.state == StepState.RUNNING and step.fence == grip.fence


def _is_recorded(step: StepRun, grip: Grip, result: Result) -> bool:
    """Return True if a commit whose answer was lost has recorded this very result."""
    attempt = Attempt.objects.filter(step_run=step, fence=grip.fence).first()
    if attempt is None or attempt.session_id != grip.session:
        return False
    if isinstance(result, Finished):
        return attempt.phase == Phase.DONE
    return attempt.result == result.as_fact()


def _adopted(opened: Change, session: str) -> Grip | None:
    """Return the hold that a commit whose answer was lost has taken, if it is still live."""
    attempt = Attempt.objects.filter(
        step_run__run=opened.run, session_id=session, phase=Phase.INTENT
    ).first()
    if attempt is None:
        return None
    step = opened.step(attempt.step_run_id)
    action = specs.action_of(opened, step)
    if step.state != StepState.RUNNING or step.fence != attempt.fence or action is None:
        return None
    body = canonical.loads(bytes(attempt.spec.body))
    return _grip(opened, step, spec=body, action=action, session=session)


def _take_next(opened: Change, *, worker: str, session: str) -> Grip | None:
    """Take any ready step, so that a run goes on although its hints may be lost."""
    if not session or disk.shortage():
        return None
    while (step := _first_ready(opened)) is not None:
        grip = _take(opened, step, worker=worker, session=session)
        if grip is not None:
            return grip
        advance(opened)
    return None


def _first_ready(opened: Change) -> StepRun | None:
    ready = opened.loaded.progress.startable(1)
    step = opened.step(ready[0]) if ready else None
    return step if step is not None and _may_start(opened, step) else None


def _may_start(opened: Change, step: StepRun) -> bool:
    return (
        step.state == StepState.READY
        and opened.run.state == RunState.RUNNING
        and opened.loaded.progress.may_start()
    )


def _take(opened: Change, step: StepRun, *, worker: str, session: str) -> Grip | None:
    """Start a ready step if what would run is what was approved."""
    spec = checks.passed(opened, step)
    if spec is None or spec.action is None:
        return None
    fence = step.fence + 1
    attempt = {
        "generation": step.generation,
        "worker": worker,
        "phase": Phase.INTENT,
        "spec_id": spec.digest,
        "session_id": session,
        "started_at": opened.at,
        "intent_at": opened.at,
    }
    opened.move_step(
        step,
        StepEvent.STARTED,
        {
            "fence": fence,
            "worker": worker,
            "digest": spec.digest,
            "session": session,
        },
        session=session,
        rows=[opened.begin_attempt(step, fence, attempt)],
        fence=fence,
        tries=step.tries + 1,
        worker=worker,
        started_at=step.started_at or opened.at,
        not_before=None,
    )
    return _grip(opened, step, spec=spec.value, action=spec.action, session=session)


def _grip(
    opened: Change,
    step: StepRun,
    *,
    spec: dict[str, Any],
    action: ActionContract,
    session: str,
) -> Grip:
    return Grip(
        run_id=opened.run.id,
        step_run_id=step.id,
        key=step.key,
        fence=step.fence,
        spec=spec,
        action=action,
        idempotency_key=_idempotency_key(opened, step),
        session=session,
    )


def _idempotency_key(opened: Change, step: StepRun) -> str:
    return canonical.digest_of(
        "execfabric/idempotency/v1",
        {
            "run": str(opened.run.id),
            "generation": step.generation,
            **step.instance(),
        },
    )


def _finish(
    opened: Change, step: StepRun, result: Result, *, session: str, log: str
) -> None:
    end = outcome.of_result(
        result,
        run=RunState(opened.run.state),
        tries=step.tries,
        max_attempts=step.max_attempts,
        rule=_rule_of(opened, step),
    )
    columns: dict[str, Any] = end.columns()
    if isinstance(result, Finished):
        payload = _of_success(step, result)
        columns = {
            "output": result.output,
            "files": result.files,
            "output_digest": result.digest,
            "error": None,
        }
    else:
        payload = dict(columns)
    if end.wait is not None:
        payload["wait_s"] = end.wait.total_seconds()
        columns["not_before"] = opened.at + end.wait
    ended = opened.end_attempt(step, end.attempt, payload.get("error"), log=log)
    opened.move_step(step, end.event, payload, session=session, rows=[ended], **columns)


def _of_success(step: StepRun, result: Finished) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "fence": step.fence,
        "result": result.digest,
        "files": sorted(result.files),
    }
    if result.masked:
        names = ", ".join(result.masked)
        payload["masked"] = list(result.masked)
        payload["message"] = f"Secrets were masked in {names}."
    return payload


def _rule_of(opened: Change, step: StepRun) -> RetryRule:
    """Return the retry rule of the plan, else that of the action."""
    planned = opened.plan_step(step)
    if planned.retry is not None:
        return planned.retry
    action = specs.action_of(opened, step)
    return action.retry if action else RetryRule()


def _late(opened: Change, step: StepRun, grip: Grip, result: Result) -> None:
    opened.record(
        "attempt.late_result",
        {"fence": grip.fence, "result": result.as_fact()},
        step=step.key,
        session=grip.session,
    )
