"""Settle a step whose outcome is unknown: an operator's finding, with evidence."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from approvals.domain.subject import Why
from execfabric.identity.authority import require
from execfabric.infra import database
from execfabric.lib import canonical
from execfabric.lib.actor import Actor
from execfabric.lib.rights import Right
from execfabric.lib.text import is_visible
from orchestration.runs.domain import outcome
from orchestration.runs.domain.results import result_digest
from orchestration.runs.domain.states import StepState
from orchestration.runs.engine import specs, subjects
from orchestration.runs.engine.advance import advance
from orchestration.runs.engine.transitions import Change, change
from orchestration.runs.errors import (
    EvidenceRequired,
    NotIndeterminate,
    OldAttemptMayLive,
    OutputInvalid,
    OwnOutcome,
    StepUnknown,
)
from orchestration.runs.models import Attempt, Run, StepRun
from orchestration.skills.domain.contract import ActionContract
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
    happened: bool,
    evidence: str,
    by: Actor,
    at: datetime,
    output: Mapping[str, Any] | None = None,
) -> StepRun:
    """Settle an indeterminate step: it happened, or it did not.

    What happened counts as success with `output`, which must satisfy the action's
    output schema, and without files. What did not happen counts as failed; that is
    refused while the old attempt may still be alive.

    :raises RightMissing: when `by` may not settle outcomes
    :raises OwnOutcome: when `by` proposed the run or wrote its plan
    :raises NotIndeterminate: when the step's outcome is not unknown
    :raises EvidenceRequired: when the evidence is empty
    :raises OutputInvalid: when the output is not what the action promises
    :raises ContractUnreadable: when a newer release wrote the skill version
    :raises OldAttemptMayLive: when the old attempt may still be alive
    """
    require(by, Right.INDETERMINATE)
    if not is_visible(evidence):
        raise EvidenceRequired
    if output is not None and not happened:
        raise OutputInvalid("A step that did not happen has no output. Leave it out.")
    found = StepRun.objects.filter(pk=step_run_id).only("run_id").first()
    if found is None:
        raise StepUnknown(step_run=str(step_run_id))
    with change(found.run_id, by=by, at=at) as opened:
        require_may_settle(opened.run, by)
        step = opened.step(step_run_id)
        if step.state != StepState.INDETERMINATE:
            raise NotIndeterminate(state=step.state)
        _settle(opened, step, happened=happened, evidence=evidence, output=output or {})
        advance(opened)
        return step


def require_may_settle(run: Run, by: Actor) -> None:
    """Check that `by` has the right, and nothing to do with the run's proposal.

    :raises RightMissing: when `by` may not settle outcomes
    :raises OwnOutcome: when `by` proposed the run or wrote its plan
    """
    require(by, Right.INDETERMINATE)
    for excluded in subjects.excluded_from(run):
        if excluded.key == by.key:
            raise OwnOutcome(
                f"You cannot settle an outcome of {OWN[Why(excluded.why)]}."
                " Ask another operator or admin.",
                why=str(excluded.why),
            )


def _settle(
    opened: Change,
    step: StepRun,
    *,
    happened: bool,
    evidence: str,
    output: Mapping[str, Any],
) -> None:
    payload: dict[str, Any] = {"happened": happened, "evidence": evidence}
    fields: dict[str, Any] = {}
    if happened:
        action = specs.action_of(opened, step)
        _require_output(action, output)
        payload["missing_files"] = list(action.files) if action else []
        digest = result_digest(output, {})
        fields = {"output": dict(output), "output_digest": digest}
    else:
        _require_dead(step)
    end = outcome.of_evidence(happened=happened, evidence=evidence, by=opened.by.name)
    error = end.error.as_fact() if end.error else None
    opened.move_step(step, end.event, payload, error=error, **fields)


def _require_output(action: ActionContract | None, output: Mapping[str, Any]) -> None:
    if action is None:
        raise ContractUnreadable
    promised = validate_output(action, Succeeded(output=dict(output)))
    if isinstance(promised, Failed):
        raise OutputInvalid(f"Cannot settle the step: {promised.message}")


def _require_dead(step: StepRun) -> None:
    """Check that the step's last attempt is past its deadline, so it was killed."""
    last = Attempt.objects.filter(step_run=step).order_by("-fence").first()
    if last is None or step.spec is None:
        return
    limit = float(canonical.loads(bytes(step.spec.body)).get("timeout_s", 0))
    until = outcome.killed_by(last.intent_at or last.started_at, timeout_s=limit)
    [[now]] = database.rows("SELECT clock_timestamp()", [])
    if now < until:
        raise OldAttemptMayLive(
            f"{OldAttemptMayLive.__doc__} It has until {until:%H:%M:%S} UTC.",
            until=until.isoformat(),
        )
