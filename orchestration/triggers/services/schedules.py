"""Create, change, pause, resume and delete schedules.

Only the keeper fires them: see `firing`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from audit.domain.rows import RowFact
from execfabric.lib.actor import Actor
from orchestration.plans import selectors as plans
from orchestration.plans.domain.inputs import file_inputs
from orchestration.plans.models import Plan
from orchestration.plans.services import check
from orchestration.triggers import history, selectors
from orchestration.triggers.domain import cron
from orchestration.triggers.domain.firings import CatchUp, Overlap
from orchestration.triggers.domain.states import TriggerEvent, TriggerState
from orchestration.triggers.errors import (
    FileNotHeld,
    ScheduleChanged,
    ScheduleUnknown,
    WaitsForNothing,
)
from orchestration.triggers.models import Schedule
from orchestration.triggers.services import common


@dataclass(frozen=True)
class ScheduleSettings:
    """What the owner of a schedule chooses."""

    name: str
    cron: str
    zone: str = "UTC"
    revision: int | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    catch_up: CatchUp = CatchUp.ONE
    overlap: Overlap = Overlap.SKIP

    def columns(self) -> dict[str, Any]:
        """Return the values of the columns."""
        return {
            "name": self.name.strip(),
            "cron": " ".join(self.cron.split()),
            "zone": self.zone,
            "revision": self.revision,
            "inputs": dict(self.inputs),
            "catch_up": str(self.catch_up),
            "overlap": str(self.overlap),
        }


def create(
    *, slug: str, settings: ScheduleSettings, by: Actor, at: datetime
) -> Schedule:
    """Create a schedule of a saved plan, which `by` then owns.

    :raises TriggerNeedsPerson: when `by` is not a user
    :raises RightMissing: when `by` may not propose
    :raises PlanUnknown: when the plan does not exist or is hidden from `by`
    :raises PlanNotPermitted: when `by` may not start it
    :raises RevisionUnknown: when it does not have the revision
    :raises PlanInvalid: when a run with these inputs could not be proposed
    :raises FileNotHeld: when the plan requires a file
    :raises TriggerNameInvalid: when the name is empty or too long
    :raises CronInvalid: when the cron expression is not valid or has no time
    :raises ZoneUnknown: when the time zone is unknown
    :raises WaitsForNothing: when the policies contradict each other
    :raises TooManyTriggers: when `by` has too many
    """
    plan = common.startable(slug, by)
    first = _first_time(plan, settings, by=by, at=at)
    common.require_few(Schedule.objects.all(), by)
    with transaction.atomic(durable=True):
        row = Schedule.objects.create(
            plan=plan,
            **settings.columns(),
            owner=by.key,
            owner_name=by.name,
            next_at=first,
            created_at=at,
        )
        rows = [history.SCHEDULE.born(row)]
        common.record(row, "schedule.created", _facts(row), rows, by=by, at=at)
    return row


def change(
    *,
    schedule_id: UUID,
    settings: ScheduleSettings,
    version: int | None = None,
    by: Actor,
    at: datetime,
) -> Schedule:
    """Change a schedule; `by` then owns it, so that no one proposes others' changes.

    The errors are those of `create`, and:

    :raises ScheduleUnknown: when it does not exist or is hidden from `by`
    :raises TriggerNotManaged: when `by` is neither its owner nor an admin
    :raises ScheduleChanged: when it no longer has the `version` that was edited
    """
    row = common.require_managed(by, selectors.schedule(by, schedule_id))
    plan = common.startable(row.plan.slug, by)
    first = _first_time(plan, settings, by=by, at=at)
    with transaction.atomic(durable=True):
        row = common.locked(row)
        if row.state == TriggerState.DELETED:
            raise ScheduleUnknown(schedule=str(schedule_id))
        if version is not None and row.version != version:
            raise ScheduleChanged
        if row.is_active:
            after = _decided_until(row, at)
            first = cron.next_time(settings.cron, settings.zone, after=after)
        values = {
            **settings.columns(),
            "owner": by.key,
            "owner_name": by.name,
            "next_at": first if row.is_active else None,
            "refusals": 0 if row.is_active else row.refusals,
        }
        rows = [write(row, values)]
        common.record(row, "schedule.changed", _facts(row), rows, by=by, at=at)
    return row


def pause(*, schedule_id: UUID, by: Actor, at: datetime) -> Schedule:
    """Pause a schedule: firings that are due until it is resumed do not count as missed.

    :raises ScheduleUnknown: when it does not exist or is hidden from `by`
    :raises TriggerNotManaged: when `by` is neither its owner nor an admin
    :raises IllegalTransition: when it is not active
    """
    return _move(schedule_id, TriggerEvent.PAUSED, by=by, at=at)


def resume(*, schedule_id: UUID, by: Actor, at: datetime) -> Schedule:
    """Resume a paused schedule from its next time on; the errors are those of `pause`."""
    return _move(schedule_id, TriggerEvent.RESUMED, by=by, at=at)


def delete(*, schedule_id: UUID, by: Actor, at: datetime) -> Schedule:
    """Delete a schedule; its firings stay stored. The errors are those of `pause`."""
    return _move(schedule_id, TriggerEvent.DELETED, by=by, at=at)


def move(
    row: Schedule,
    event: TriggerEvent,
    *,
    at: datetime,
    reason: str = "",
    **values: Any,
) -> RowFact:
    """Change the state of a locked schedule; return the change for the event.

    :raises IllegalTransition: when the table has no such move
    """
    values |= {**common.moved(row, event), "reason": reason, "next_at": None}
    if event is TriggerEvent.RESUMED:
        first = cron.next_time(row.cron, row.zone, after=_decided_until(row, at))
        values |= {"next_at": first, "refusals": 0}
    return write(row, values)


def _move(
    schedule_id: UUID, event: TriggerEvent, *, by: Actor, at: datetime
) -> Schedule:
    row = common.require_managed(by, selectors.schedule(by, schedule_id))
    with transaction.atomic(durable=True):
        row = common.locked(row)
        rows = [move(row, event, at=at)]
        common.record(row, f"schedule.{event}", {}, rows, by=by, at=at)
    return row


def write(row: Schedule, values: dict[str, Any]) -> RowFact:
    """Write columns of a locked schedule, and forget its failed tries."""
    return common.write(row, values, tries=0, retry_at=None)


def _decided_until(row: Schedule, at: datetime) -> datetime:
    """Return the time after which a locked schedule may fire.

    A firing that happened while the request waited for the lock is not repeated.
    """
    return max(at, selectors.last_due(row) or at)


def _first_time(
    plan: Plan, settings: ScheduleSettings, *, by: Actor, at: datetime
) -> datetime:
    """Check the settings as a proposal would; return the first firing."""
    common.check_name(settings.name)
    if settings.overlap is Overlap.WAIT and settings.catch_up is CatchUp.SKIP:
        raise WaitsForNothing
    first = cron.next_time(settings.cron, settings.zone, after=at)
    revision = plans.revision(plan, settings.revision)
    files = file_inputs(plans.document(revision).inputs_schema)
    if given := sorted(files & settings.inputs.keys()):
        raise FileNotHeld(inputs=given)
    checked = check.check(text=revision.source, inputs=settings.inputs, by=by)
    if any(problem.input in files for problem in checked.problems if problem.input):
        raise FileNotHeld(inputs=sorted(files))
    checked.require_valid()
    return first


def _facts(row: Schedule) -> dict[str, Any]:
    names = ("revision", "cron", "zone", "catch_up", "overlap")
    return {"plan": row.plan.slug, **{name: getattr(row, name) for name in names}}
