"""Claim and complete: the two transactions of an attempt.

A claim commits the intent: the effect may follow. A worker that completes a step claims
the next ready one of the same run in the same transaction, so a chain needs no message
between its steps. Both may be repeated after a lost connection: the worker chooses the
session id of the attempt and recognizes its own commit by it.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from execfabric.infra import database, disk
from execfabric.lib import canonical
from execfabric.lib.actor import Actor, system
from execfabric.lib.clock import elapsed_ms
from orchestration.plans.domain.undo import is_undo
from orchestration.runs import selectors
from orchestration.runs.domain import outcome
from orchestration.runs.domain.failure_names import TIMEOUTS
from orchestration.runs.domain.results import Finished, Result, recordable
from orchestration.runs.domain.states import (
    AttemptEvent,
    Phase,
    RunEvent,
    RunState,
    StepEvent,
    StepState,
)
from orchestration.runs.engine import checks, probes, specs, versions
from orchestration.runs.engine.advance import advance
from orchestration.runs.engine.loading import RunCache
from orchestration.runs.engine.locking import locked_change, optimistic_change
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.engine.version_sources import Returned
from orchestration.runs.errors import DispatchStopped
from orchestration.runs.models import Attempt, StepRun
from orchestration.skills.domain.contract import ActionContract, RetryRule

BY: Actor = system("worker")


@dataclass(frozen=True)
class Lease:
    """A worker's lease on one attempt, valid while the step has this fence."""

    run_id: UUID
    step_run_id: UUID
    key: str
    fence: int
    spec: dict[str, Any]
    action: ActionContract
    idempotency_key: str
    session: str
    """The id of the attempt in the trace."""


_RUN_OF = (
    "SELECT run_id FROM runs_steprun WHERE id = %s AND state IN ('ready', 'running')"
)


def claim(
    *,
    step_run_id: UUID,
    worker: str,
    session: str,
    at: datetime,
    cache: RunCache | None = None,
) -> Lease | None:
    """Claim a ready step run; return None if the hint was stale, duplicate or forged.

    While the disk is almost full or a stop covers the step, return None too: the keeper
    hints again. If the session has claimed it before, return that lease again.
    """
    if disk.shortage():
        return None
    row = database.row(_RUN_OF, [step_run_id])
    if row is None:
        return None
    try:
        # Never from the cache: a claim starts from what is stored now.
        with locked_change(row[0], by=BY, at=at) as change:
            step = change.step(step_run_id)
            if step.state == StepState.RUNNING:
                return _lease_of_session(change, session)
            if not _may_start(change, step):
                return None
            lease = _take(change, step, worker=worker, session=session)
            advance(change)
    except DispatchStopped:
        # A stop was set after the run was read.
        return None
    if cache is not None:
        cache.put(change.loaded)
    return lease


def complete(
    lease: Lease,
    result: Result,
    *,
    worker: str,
    session: str,
    at: datetime,
    cache: RunCache | None = None,
    logged: bool = True,
) -> Lease | None:
    """Record the result of an attempt, advance the run, and claim its next ready step.

    `session` is the id of the next attempt; without one, none is claimed. `logged` is
    False if this attempt has no log, whose digest is recorded otherwise. A result that
    comes after the lease was lost is recorded as evidence and changes nothing else.
    """
    result = recordable(result)

    def act(change: RunChange) -> Lease | None:
        step = change.step(lease.step_run_id)
        if step.state != StepState.RUNNING or step.fence != lease.fence:
            change.require_lock()
            if _has_recorded(step, lease, result):
                return _lease_of_session(change, session) if session else None
            late = {"fence": lease.fence, "result": result.as_fact()}
            change.record_of(step, "attempt.late_result", late, session=lease.session)
            return None
        log = selectors.log_digest(step.id, lease.fence) if logged else ""
        _finish(change, step, result, session=lease.session, log=log)
        if isinstance(result, Finished) and result.files:
            change.returned.append(_returned(change, step, result, lease))
        advance(change)
        return _take_next(change, worker=worker, session=session)

    return optimistic_change(
        lease.run_id, act, by=BY, at=at, cache=cache or RunCache(0)
    )


_OF_SESSION = """
SELECT step.run_id, step.id, step.fence FROM runs_steprun AS step
JOIN runs_attempt AS attempt
  ON attempt.step_run_id = step.id AND attempt.fence = step.fence
WHERE step.state IN ('running', 'indeterminate') AND attempt.session_id = %s
"""


def not_started(session: str, evidence: str, *, at: datetime) -> bool:
    """Make a step ready whose attempt certainly never began; return False if it ended.

    If its outcome was marked unknown in the meantime and the run was paused for that, the
    run resumes. In a run that has ended the step is cancelled.
    """
    row = database.row(_OF_SESSION, [session])
    if row is None:
        return False
    run_id, step_run_id, fence = row
    with locked_change(run_id, by=BY, at=at) as change:
        step = change.step(step_run_id)
        unknown = step.state == StepState.INDETERMINATE
        if step.fence != fence or not (unknown or step.state == StepState.RUNNING):
            return False
        fact = {"fence": fence, "evidence": evidence}
        rows = []
        if not unknown:
            rows = [change.end_attempt(step, AttemptEvent.NOT_STARTED, fact)]
        change.move_step(
            step,
            outcome.of_not_started(RunState(change.run.state)),
            fact,
            session=session,
            rows=rows,
            tries=step.tries - 1,
            error=None,
        )
        state = RunState(change.run.state)
        if unknown and outcome.was_paused_for(
            change.loaded.title(step), state, change.run.reason
        ):
            change.move_run(RunEvent.RESUMED)
        advance(change)
        return True


def _has_recorded(step: StepRun, lease: Lease, result: Result) -> bool:
    """Return True if an earlier commit of this worker has recorded this result."""
    attempt = Attempt.objects.filter(step_run=step, fence=lease.fence).first()
    if attempt is None or attempt.session_id != lease.session:
        return False
    if isinstance(result, Finished):
        return attempt.phase == Phase.DONE
    return attempt.result == result.as_fact()


def _lease_of_session(change: RunChange, session: str) -> Lease | None:
    """Return the lease that an earlier commit of this session took, if still valid."""
    attempt = Attempt.objects.filter(
        step_run__run=change.run, session_id=session, phase=Phase.INTENT
    ).first()
    if attempt is None:
        return None
    step = change.step(attempt.step_run_id)
    action = specs.action_of(change, step)
    if step.state != StepState.RUNNING or step.fence != attempt.fence or action is None:
        return None
    body = canonical.loads(bytes(attempt.spec.body))
    return _lease(change, step, spec=body, action=action, session=session)


def _take_next(change: RunChange, *, worker: str, session: str) -> Lease | None:
    """Claim the first ready step, so that a run does not depend on hints."""
    if not session or disk.shortage():
        return None
    while (active := change.loaded.active) and (ready := active.startable(1)):
        step = change.step(ready[0])
        if not _may_start(change, step):
            break
        lease = _take(change, step, worker=worker, session=session)
        if lease is not None:
            return lease
        advance(change)
    return None


def _may_start(change: RunChange, step: StepRun) -> bool:
    is_rollback = change.run.state == RunState.ROLLING_BACK
    active = change.loaded.active
    return (
        step.state == StepState.READY
        and active is not None
        and is_undo(step.key) is is_rollback
        and active.may_claim(step.id)
        and not is_stopped(change, step)
    )


def is_stopped(change: RunChange, step: StepRun) -> bool:
    """Return True if a stop covers the step; the database checks it again."""
    pin = change.pin_of(step) if change.loaded.stops else None
    return pin is not None and not {"", pin.get("skill")}.isdisjoint(
        change.loaded.stops
    )


def _take(
    change: RunChange, step: StepRun, *, worker: str, session: str
) -> Lease | None:
    """Start a ready step if what would run is what was approved."""
    spec = checks.approved_spec(change, step)
    if spec is None or spec.action is None:
        return None
    fence = step.fence + 1
    attempt = {
        "generation": step.generation,
        "worker": worker,
        "phase": Phase.INTENT,
        "spec_id": spec.digest,
        "session_id": session,
        "started_at": change.at,
        "intent_at": change.at,
    }
    fact = {"fence": fence, "worker": worker, "digest": spec.digest, "session": session}
    change.move_step(
        step,
        StepEvent.STARTED,
        fact,
        session=session,
        rows=[change.begin_attempt(step, fence, attempt)],
        fence=fence,
        tries=step.tries + 1,
        worker=worker,
        started_at=step.started_at or change.at,
        not_before=None,
    )
    return _lease(change, step, spec=spec.value, action=spec.action, session=session)


def _lease(
    change: RunChange,
    step: StepRun,
    *,
    spec: dict[str, Any],
    action: ActionContract,
    session: str,
) -> Lease:
    return Lease(
        run_id=change.run.id,
        step_run_id=step.id,
        key=step.key,
        fence=step.fence,
        spec=spec,
        action=action,
        idempotency_key=idempotency_key(change, step),
        session=session,
    )


def idempotency_key(change: RunChange, step: StepRun) -> str:
    """Return the key that all attempts of a step's generation share."""
    instance = {"run": str(change.run.id), "generation": step.generation}
    return canonical.digest_of("execfabric/idempotency/v1", instance | step.instance())


def _finish(
    change: RunChange, step: StepRun, result: Result, *, session: str, log: str
) -> None:
    end = _outcome(change, step, result)
    columns: dict[str, Any] = end.columns()
    error = None
    if isinstance(result, Finished):
        payload = _success_payload(step, result)
        columns = {
            "output": result.output,
            "files": result.files,
            "output_digest": result.digest,
            "error": None,
        }
    else:
        payload = dict(columns)
        error = result.as_fact()
        if result.code in TIMEOUTS:
            payload["elapsed_ms"] = _elapsed_ms(step, change.at)
    if end.wait is not None:
        payload["wait_s"] = end.wait.total_seconds()
        columns["not_before"] = change.at + end.wait
    if end.event is StepEvent.OUTCOME_UNKNOWN:
        columns |= probes.planned(change, step)
    attempt = change.end_attempt(step, end.attempt, error, log=log)
    change.move_step(
        step, end.event, payload, session=session, rows=[attempt], **columns
    )


def _elapsed_ms(step: StepRun, at: datetime) -> int:
    """Return how long the current attempt of a step took."""
    attempts = Attempt.objects.filter(step_run=step, fence=step.fence)
    return elapsed_ms(attempts.values_list("started_at", flat=True).get(), at)


def _returned(
    change: RunChange, step: StepRun, result: Finished, lease: Lease
) -> Returned:
    return Returned(
        step=step,
        title=versions.title_of(change.loaded, step),
        files=result.files,
        received=lease.spec.get("files", ()),
    )


def _outcome(
    change: RunChange, step: StepRun, result: Result
) -> outcome.AttemptOutcome:
    run = RunState(change.run.state)
    end = outcome.of_result(
        result,
        run=run,
        tries=step.tries,
        max_attempts=step.max_attempts,
        rule=_retry_rule(change, step),
    )
    has_fallback = change.plan_step(step).fallback is not None
    if end.event is StepEvent.FAILED and outcome.must_be_known(
        step.effect_class, has_fallback=has_fallback, run=run
    ):
        unknown = selectors.has_unknown_attempt(step)
        return outcome.if_known(end, earlier_unknown=unknown)
    return end


def _success_payload(step: StepRun, result: Finished) -> dict[str, Any]:
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


def _retry_rule(change: RunChange, step: StepRun) -> RetryRule:
    """Return the retry rule of the plan, else that of the action."""
    planned = change.plan_step(step)
    if planned.retry is not None:
        return planned.retry
    action = specs.action_of(change, step)
    return action.retry if action else RetryRule()
