"""Ask the target of a step with an unknown outcome if it happened, before a person does.

A worker claims the probe of a step, asks, and records the answer. Both are changes of the
run, so a user who decides meanwhile is first or is refused, and a hint that is duplicate
or forged asks nothing twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from execfabric.infra import database, disk
from execfabric.lib import canonical
from execfabric.lib.actor import Actor, system
from execfabric.lib.refusal import Refusal
from orchestration.runs.control.recovery import checked_output, require_dead
from orchestration.runs.domain import outcome, probes
from orchestration.runs.domain.probes import ProbeAnswer, Probed
from orchestration.runs.domain.states import Phase, RunEvent, RunState
from orchestration.runs.engine import attempts, specs
from orchestration.runs.engine.advance import advance
from orchestration.runs.engine.locking import locked_change
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.errors import OldAttemptMayLive
from orchestration.runs.models import Attempt, StepRun
from orchestration.skills import selectors as skills
from orchestration.skills.domain.contract import ActionContract

BY: Actor = system("worker")
_RUN_OF = "SELECT run_id FROM runs_steprun WHERE id = %s AND probe_at IS NOT NULL"


@dataclass(frozen=True)
class ProbeJob:
    """A probe that a worker has claimed, with what its attempt was called with."""

    run_id: UUID
    step_run_id: UUID
    session: str
    spec: Mapping[str, Any]
    action: ActionContract
    idempotency_key: str
    started_at: datetime
    """When the attempt began that it asks about."""

    @property
    def timeout_s(self) -> float:
        return min(self.action.timeout_s, probes.SECONDS)


def claim(*, step_run_id: UUID, session: str, at: datetime) -> ProbeJob | None:
    """Claim the probe of a step; return None if none is due, or a stop covers the step.

    If the session has claimed it before, return that job again.
    """
    row = None if disk.shortage() else database.row(_RUN_OF, [step_run_id])
    if row is None:
        return None
    with locked_change(row[0], by=BY, at=at) as change:
        step = change.step(step_run_id)
        tries = (step.probe_record or {}).get("tries", 0)
        if _is_of(step, session):
            return _job(change, step, session)
        if not _is_due(change, step):
            return None
        if tries >= probes.TRIES:
            _end(change, step, session, f"A worker was lost {tries} times meanwhile.")
            return None
        job = _job(change, step, session)
        if job is None:
            _end(change, step, session, "The check cannot run as it was approved.")
            return None
        change.note_probe(
            step,
            "probe_started",
            {"try": tries + 1, "probe": job.action.probe},
            session=session,
            probe_at=at + probes.LEASE,
            probe_record={"tries": tries + 1, "session": session},
        )
        return job


def answer(job: ProbeJob, probed: Probed, *, at: datetime) -> bool:
    """Record the answer of a probe, and do what follows from it.

    Return False if it comes too late: then it is recorded and changes nothing.
    """
    with locked_change(job.run_id, by=BY, at=at) as change:
        step = change.step(job.step_run_id)
        if not _is_of(step, job.session):
            if _has_answer(step, job.session):
                return True
            late = {"answer": str(probed.answer), "evidence": probed.evidence}
            change.record_of(step, "step.probe_late", late, session=job.session)
            return False
        _conclude(change, step, probed, job.session)
        return True


def _is_of(step: StepRun, session: str) -> bool:
    """Return True while this session's probe of the step has no answer."""
    return (
        step.probe_at is not None
        and (step.probe_record or {}).get("session") == session
    )


def _has_answer(step: StepRun, session: str) -> bool:
    """Return True if an earlier commit of this session recorded its answer."""
    probe = step.probe_record or {}
    return probe.get("session") == session and "answer" in probe


def _is_due(change: RunChange, step: StepRun) -> bool:
    """Return True if its target may be asked now: the old attempt is dead, no stop."""
    if step.probe_at is None or step.probe_at > change.at:
        return False
    try:
        require_dead(step, "The old attempt may still be running.")
    except OldAttemptMayLive:
        return False
    return not attempts.is_stopped(change, step)


def _job(change: RunChange, step: StepRun, session: str) -> ProbeJob | None:
    """Return what to ask; None if it is not what was approved, or must not run."""
    attempt = Attempt.objects.select_related("spec").get(
        step_run=step, fence=step.fence
    )
    body = bytes(attempt.spec.body)
    action = specs.action_of(change, step)
    pin = change.pin_of(step) or {}
    pinned = change.loaded.pinned.get(pin.get("version_id", ""))
    if action is None or pinned is None or specs.digest_of(body) != attempt.spec_id:
        return None
    is_usable = skills.usable(pinned.skill_state, pinned.version_state)
    is_approved = pinned.digest == pin["digest"]
    if not (is_usable and is_approved and skills.handler_fits(pinned, action.probe)):
        return None
    return ProbeJob(
        run_id=change.run.id,
        step_run_id=step.id,
        session=session,
        spec=canonical.loads(body),
        action=action,
        idempotency_key=attempts.idempotency_key(change, step),
        started_at=attempt.started_at,
    )


def _end(change: RunChange, step: StepRun, session: str, why: str) -> None:
    """Leave the outcome to a person."""
    _conclude(change, step, Probed(ProbeAnswer.CANNOT_TELL, why), session)


def _conclude(change: RunChange, step: StepRun, probed: Probed, session: str) -> None:
    columns: dict[str, Any] = {}
    fact: dict[str, Any] = {}
    if probed.answer is ProbeAnswer.HAPPENED:
        try:
            columns, missing = checked_output(
                change, step, probed.output, verb="resolve"
            )
            fact = {"happened": True, "missing_files": missing}
            problem = "But its files are missing." if missing else ""
        except Refusal as error:
            problem = f"But its output cannot be used. {error.message}"
        if problem:
            columns, fact, why = {}, {}, f"{probed.evidence} {problem}"
            probed = replace(probed, answer=ProbeAnswer.CANNOT_TELL, evidence=why)
    tries = (step.probe_record or {}).get("tries", 0)
    fact |= {"answer": str(probed.answer), "evidence": probed.evidence}
    stored = {"tries": tries, "session": session, "log": probed.log}
    stored |= {"answer": str(probed.answer), "evidence": probed.evidence}
    lost = step.attempts.filter(generation=step.generation, phase=Phase.LOST)
    end = probes.of_probe(
        probed,
        run=RunState(change.run.state),
        error=str((step.error or {}).get("code", "")),
        tries=step.tries,
        max_attempts=step.max_attempts,
        losses=lost.count(),
    )
    if end is None:
        change.note_probe(
            step, "probed", fact, session=session, probe_at=None, probe_record=stored
        )
    else:
        columns["error"] = end.error.as_fact() if end.error else None
        columns["tries"] = step.tries if end.counts else step.tries - 1
        change.move_step(
            step, end.event, fact, session=session, probe_record=stored, **columns
        )
        _resume(change, step)
    advance(change)


def _resume(change: RunChange, step: StepRun) -> None:
    """Resume a run that was paused only because of this step's unknown outcome."""
    title, state = change.loaded.title(step), RunState(change.run.state)
    if outcome.was_paused_for(title, state, change.run.reason):
        change.move_run(RunEvent.RESUMED)
