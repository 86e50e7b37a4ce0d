"""Saying what happened where nobody could know: a person's word, with evidence."""

from datetime import datetime, timedelta
from uuid import UUID

from django.db import connection

from execfabric.accounts.authority import Right, require
from execfabric.lib import canonical
from execfabric.lib.actor import Actor
from execfabric.lib.text import is_visible
from orchestration.runs.domain.results import result_digest
from orchestration.runs.domain.states import StepEvent, StepState
from orchestration.runs.errors import (
    EvidenceRequired,
    NotIndeterminate,
    OldAttemptMayLive,
    StepUnknown,
)
from orchestration.runs.models import Attempt, StepRun
from orchestration.runs.services.advance import advance
from orchestration.runs.services.transitions import Change, change

MARGIN = timedelta(seconds=30)


def resolve(
    *, step_run_id: UUID, happened: bool, evidence: str, by: Actor, at: datetime
) -> StepRun:
    """Settle an indeterminate step: it happened, or it did not.

    What happened counts as success without output. What did not happen counts as
    failed, and can be tried again as a new generation when the run is resumed; that
    is refused while the old attempt may still be alive.

    :raises NotIndeterminate: when the step's outcome is not unknown
    :raises EvidenceRequired: without a word on how it is known
    :raises OldAttemptMayLive: when "did not happen" cannot be said yet
    """
    require(by, Right.CONTROL)
    if not is_visible(evidence):
        raise EvidenceRequired
    run_id = (
        StepRun.objects.filter(pk=step_run_id).values_list("run_id", flat=True).first()
    )
    if run_id is None:
        raise StepUnknown(step_run=str(step_run_id))
    with change(run_id, by=by, at=at) as opened:
        step = opened.step(step_run_id)
        if step.state != StepState.INDETERMINATE:
            raise NotIndeterminate(state=step.state)
        if happened:
            _happened(opened, step, evidence)
        else:
            _did_not_happen(opened, step, evidence)
        advance(opened)
        return step


def _happened(opened: Change, step: StepRun, evidence: str) -> None:
    output: dict[str, str] = {}
    opened.move_step(
        step,
        StepEvent.RESOLVED,
        {"happened": True, "evidence": evidence},
        output=output,
        output_digest=result_digest(output, {}),
        error=None,
    )


def _did_not_happen(opened: Change, step: StepRun, evidence: str) -> None:
    _require_dead(step)
    fact = {
        "code": "step.did_not_happen",
        "message": f"{opened.by.name} found that it did not happen: {evidence}",
        "ran": False,
    }
    payload = {"happened": False, "evidence": evidence}
    opened.move_step(step, StepEvent.FAILED, payload, error=fact)


def _require_dead(step: StepRun) -> None:
    """Past its hard deadline and a margin, a lost attempt has killed its own handler."""
    last = Attempt.objects.filter(step_run=step).order_by("-fence").first()
    if last is None or step.spec is None:
        return
    limit = float(canonical.loads(bytes(step.spec.body)).get("timeout_s", 0))
    begun = last.intent_at or last.started_at
    until = begun + timedelta(seconds=limit) + MARGIN
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now = cursor.fetchone()[0]
    if now < until:
        raise OldAttemptMayLive(
            f"{OldAttemptMayLive.__doc__} It has until {until:%H:%M:%S} UTC.",
            until=until.isoformat(),
        )
