"""Stop the dispatch of all steps, or of those of one skill, and lift such stops."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from django.db import transaction

from audit import services as audit
from audit.services import Fact, RowFact
from execfabric.identity.authority import require
from execfabric.infra import database
from execfabric.lib import canonical
from execfabric.lib.actor import Actor
from execfabric.lib.rights import Right
from execfabric.lib.text import is_storable, is_visible
from orchestration.runs import history
from orchestration.runs.domain.states import RunState
from orchestration.runs.errors import (
    StopLifted,
    StopReasonRequired,
    StopSkillUnknown,
    StopUnknown,
)
from orchestration.runs.models import Attempt, Run, StepRun, Stop
from orchestration.skills.models import Skill

LONGEST_REASON = 2000
_STEPS = """
FROM runs_steprun AS step JOIN runs_execspec AS spec ON spec.digest = step.spec_id"""
_SLUG = "convert_from(spec.body, 'UTF8')::jsonb -> 'skill' ->> 'slug'"
_READY = f"""
SELECT DISTINCT {_SLUG} {_STEPS} WHERE step.run_id = %s AND step.state = 'ready'"""
_RUNNING = f"""
SELECT count(*) {_STEPS} WHERE step.state = 'running' AND %s IN ('', {_SLUG})"""


def stop(*, skill: str, reason: str, cancel: bool, by: Actor, at: datetime) -> Stop:
    """Stop all steps, or those of a skill: once this has committed, none starts.

    Running steps finish. With `cancel` the keeper cancels their runs, so those that are
    safe to interrupt are stopped.

    :raises RightMissing: when `by` may not control runs
    :raises StopReasonRequired: when the reason is empty or too long
    :raises StopSkillUnknown: when there is no such skill
    """
    require(by, Right.CONTROL)
    _check_reason(reason)
    if skill and not Skill.objects.filter(slug=skill).exists():
        raise StopSkillUnknown(skill=skill)
    row = Stop(
        skill=skill,
        reason=reason,
        cancels=cancel,
        set_by=by.key,
        set_by_name=by.name,
        set_at=at,
    )
    with transaction.atomic(durable=True):
        # Waits for the attempts that are being written; a trigger refuses later ones.
        row.save(force_insert=True)
        fact = {"skill": skill, "reason": reason, "cancel": cancel}
        _record("stop.set", row, fact, history.STOP.born(row), by=by, at=at)
    return row


def lift(*, stop_id: UUID, reason: str, by: Actor, at: datetime) -> Stop:
    """Lift a stop; steps that no other stop covers start again.

    :raises RightMissing: when `by` may not control runs
    :raises StopReasonRequired: when the reason is empty or too long
    :raises StopUnknown: when it does not exist
    :raises StopLifted: when it has been lifted before
    """
    require(by, Right.CONTROL)
    _check_reason(reason)
    with transaction.atomic(durable=True):
        row = Stop.objects.select_for_update().filter(pk=stop_id).first()
        if row is None:
            raise StopUnknown(stop=str(stop_id))
        if not row.is_active:
            raise StopLifted(stop=str(stop_id))
        values = {
            "lifted_by": by.key,
            "lifted_by_name": by.name,
            "lifted_at": at,
            "lift_reason": reason,
        }
        for name, value in values.items():
            setattr(row, name, value)
        row.save(update_fields=list(values))
        fact = {"skill": row.skill, "reason": reason}
        _record(
            "stop.lifted", row, fact, history.STOP.changed(row, values), by=by, at=at
        )
    return row


def covers(stop: Stop, step: StepRun | Attempt) -> bool:
    """Return True if a stop keeps a step with resolved parameters from starting."""
    if not stop.skill or step.spec is None:
        return not stop.skill
    slug: str = canonical.loads(bytes(step.spec.body))["skill"]["slug"]
    return slug == stop.skill


def holding(run: Run) -> list[Stop]:
    """Return the active stops that keep a ready step of a run from starting."""
    if run.state != RunState.RUNNING:
        return []
    active = [*Stop.objects.filter(lifted_at__isnull=True).order_by("pk")]
    skills = {slug for [slug] in database.rows(_READY, [run.pk])} if active else set()
    return [stop for stop in active if skills and stop.skill in {"", *skills}]


def still_running(stop: Stop) -> int:
    """Return how many steps still run that an active stop covers."""
    if not stop.is_active:
        return 0
    [[count]] = database.rows(_RUNNING, [stop.skill])
    return int(count)


def _check_reason(reason: str) -> None:
    if (
        not is_visible(reason)
        or not is_storable(reason)
        or len(reason) > LONGEST_REASON
    ):
        raise StopReasonRequired(
            f"{StopReasonRequired.__doc__} (max {LONGEST_REASON} characters)"
        )


def _record(
    kind: str,
    row: Stop,
    fact: Mapping[str, object],
    changed: RowFact,
    *,
    by: Actor,
    at: datetime,
) -> None:
    payload = {"stop": str(row.pk), **fact}
    component = f"skill:{row.skill}" if row.skill else "stop:all"
    audit.append(
        row.stream,
        [Fact(kind, payload, component=component, rows=(changed,))],
        by=by,
        at=at,
    )
