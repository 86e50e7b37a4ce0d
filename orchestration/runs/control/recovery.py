"""Resolve the unknown outcome of a step by an operator's finding, with evidence."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from approvals.domain.eligibility import Why
from execfabric.identity.authority import require
from execfabric.infra import database
from execfabric.lib import canonical
from execfabric.lib.actor import Actor
from execfabric.lib.rights import Right
from execfabric.lib.text import is_visible
from orchestration.runs.domain import outcome
from orchestration.runs.domain.results import result_digest
from orchestration.runs.domain.states import Phase, StepState
from orchestration.runs.engine import continuing, specs, subjects
from orchestration.runs.engine.advance import advance
from orchestration.runs.engine.locking import locked_change
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.errors import (
    EvidenceRequired,
    NotIndeterminate,
    OldAttemptMayLive,
    OutputInvalid,
    OwnOutcome,
    StepUnknown,
)
from orchestration.runs.models import Attempt, Run, StepRun
from orchestration.skills.domain.outcome import Failed, Succeeded
from orchestration.skills.errors import ContractUnreadable
from orchestration.skills.execution import validate_output

OWN = {
    Why.PROPOSER: "a run that you proposed",
    Why.EDITOR: "a plan that you wrote",
    Why.AGENT_OWNER: "a run of your own agent",
}


def resolve(
    *,
    step_run_id: UUID,
    happened: bool | None,
    evidence: str,
    by: Actor,
    at: datetime,
    output: Mapping[str, Any] | None = None,
) -> StepRun:
    """Resolve a step whose outcome is unknown: it happened, it did not, or who knows.

    If it happened, the step succeeds with `output`, which must match the action's output
    schema, and without files. If not, the step fails and can be tried again; that is
    refused while the old attempt may still be running. With None the step is abandoned:
    it fails, and is neither tried again nor replaced by its fallback.

    :raises RightMissing: when `by` may not resolve outcomes
    :raises OwnOutcome: when `by` proposed the run or wrote its plan
    :raises NotIndeterminate: when the step's outcome is not unknown
    :raises EvidenceRequired: when the evidence is empty
    :raises OutputInvalid: when the output does not match the schema
    :raises ContractUnreadable: when a newer release wrote the skill version
    :raises OldAttemptMayLive: when the old attempt may still be running
    """
    require(by, Right.INDETERMINATE)
    if not is_visible(evidence):
        raise EvidenceRequired
    if output is not None and not happened:
        raise OutputInvalid(
            "Cannot resolve the step: an output is only valid if it happened. Remove it."
        )
    row = StepRun.objects.filter(pk=step_run_id).only("run_id").first()
    if row is None:
        raise StepUnknown(step_run=str(step_run_id))
    with locked_change(row.run_id, by=by, at=at) as change:
        require_may_resolve(change.run, by)
        step = change.step(step_run_id)
        if step.state != StepState.INDETERMINATE:
            raise NotIndeterminate(state=step.state)
        _resolve(
            change, step, happened=happened, evidence=evidence, output=output or {}
        )
        continuing.end_if_done(change, step)
        advance(change)
        return step


def require_may_resolve(run: Run, by: Actor) -> None:
    """Check that `by` has the right and is not excluded by separation of duties.

    :raises RightMissing: when `by` may not resolve outcomes
    :raises OwnOutcome: when `by` proposed the run or wrote its plan
    """
    require(by, Right.INDETERMINATE)
    if why := involved(run, by):
        raise OwnOutcome(
            f"You cannot resolve an outcome of {OWN[why]}. Ask another operator or admin.",
            why=str(why),
        )


def involved(run: Run, by: Actor) -> Why | None:
    """Return why separation of duties excludes `by` from findings about a run, or None."""
    excluded = subjects.excluded_from(run)
    return next((Why(each.why) for each in excluded if each.key == by.key), None)


def _resolve(
    change: RunChange,
    step: StepRun,
    *,
    happened: bool | None,
    evidence: str,
    output: Mapping[str, Any],
) -> None:
    payload: dict[str, Any] = {"happened": happened, "evidence": evidence}
    fields: dict[str, Any] = {}
    if happened:
        fields, missing = checked_output(change, step, output, verb="resolve")
        payload["missing_files"] = missing
    elif happened is False:
        require_dead(step, OldAttemptMayLive().message)
    end = outcome.of_evidence(happened=happened, evidence=evidence, by=change.by.name)
    error = end.error.as_fact() if end.error else None
    change.move_step(step, end.event, payload, error=error, **fields)


def checked_output(
    change: RunChange, step: StepRun, output: Mapping[str, Any], *, verb: str
) -> tuple[dict[str, Any], list[str]]:
    """Return the columns of an output found by a user, and the files that are missing.

    :raises ContractUnreadable: when a newer release wrote the skill version
    :raises OutputInvalid: when the output does not match the schema of the action
    """
    action = specs.action_of(change, step)
    if action is None:
        raise ContractUnreadable
    checked = validate_output(action, Succeeded(output=dict(output)))
    if isinstance(checked, Failed):
        raise OutputInvalid(f"Cannot {verb} the step: {checked.message}")
    digest = result_digest(output, {})
    return {"output": dict(output), "output_digest": digest}, list(action.files)


def require_dead(step: StepRun, message: str) -> None:
    """Check that each lost attempt is past its deadline, so that its guardian killed it.

    Measured by the clock of the database, because that of the worker may be wrong.

    :raises OldAttemptMayLive: with the message, when one may still be running
    """
    lost = Attempt.objects.filter(step_run=step, phase=Phase.LOST)
    ends = [_killed_by(attempt) for attempt in lost.select_related("spec")]
    [[now]] = database.rows("SELECT clock_timestamp()", [])
    if ends and now < (until := max(ends)):
        raise OldAttemptMayLive(
            f"{message} Try again after {until:%H:%M:%S} UTC.",
            until=until.isoformat(),
        )


def _killed_by(attempt: Attempt) -> datetime:
    timeout_s = float(canonical.loads(bytes(attempt.spec.body)).get("timeout_s", 0))
    return outcome.killed_by(attempt.recorded_at, timeout_s=timeout_s)
