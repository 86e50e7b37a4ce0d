"""Read schedules with their firings, and webhooks with their deliveries."""

from datetime import datetime
from typing import TypeVar
from uuid import UUID

from django.db.models import Q, QuerySet
from django.db.models.functions import Coalesce

from execfabric.identity import authority
from execfabric.lib.actor import Actor
from execfabric.lib.rights import Right
from orchestration.runs.domain.states import FINAL_RUN
from orchestration.runs.models import Run
from orchestration.runs.selectors import LARGE
from orchestration.triggers.domain.states import TriggerState
from orchestration.triggers.errors import HookUnknown, ScheduleUnknown
from orchestration.triggers.models import (
    Delivery,
    Firing,
    Hook,
    Schedule,
    Trigger,
    TriggerResult,
)

LATEST_RUNS = 100
"""Newest runs of a schedule that are checked for an open one."""
T = TypeVar("T", bound=Trigger)
R = TypeVar("R", bound=TriggerResult)


def schedules_visible_to(by: Actor) -> QuerySet[Schedule]:
    """Return the schedules that `by` may see: all, or their own; none if deleted."""
    return _visible(Schedule.objects.all(), by)


def hooks_visible_to(by: Actor) -> QuerySet[Hook]:
    """Return the webhooks that `by` may see: all, or their own; none if deleted."""
    return _visible(Hook.objects.all(), by)


def _visible(rows: "QuerySet[T]", by: Actor) -> "QuerySet[T]":
    live = rows.exclude(state=TriggerState.DELETED).select_related("plan")
    if Right.SEE_ALL in authority.rights_of(by):
        return live
    if authority.person_of(by) is None:
        return live.none()
    return live.filter(owner=by.on_behalf_of)


def schedule(by: Actor, schedule_id: UUID) -> Schedule:
    """Return a visible schedule.

    :raises ScheduleUnknown: when it does not exist or is hidden from `by`
    """
    row = schedules_visible_to(by).filter(pk=schedule_id).first()
    if row is None:
        raise ScheduleUnknown(schedule=str(schedule_id))
    return row


def hook(by: Actor, hook_id: UUID) -> Hook:
    """Return a visible webhook.

    :raises HookUnknown: when it does not exist or is hidden from `by`
    """
    row = hooks_visible_to(by).filter(pk=hook_id).first()
    if row is None:
        raise HookUnknown(hook=str(hook_id))
    return row


def latest_deliveries(row: Hook, limit: int) -> list[Delivery]:
    """Return the last signed deliveries to a webhook, newest first."""
    rows = row.deliveries.order_by("-at", "-pk")
    return list(_with_runs(rows)[:limit])


def may_manage(by: Actor, row: Trigger) -> bool:
    """Return True for the owner in person and for admins."""
    return authority.may_manage(by, row.owner)


def may_rotate(by: Actor, row: Hook) -> bool:
    """Return True for the owner in person: who has the secret proposes in their name."""
    return row.owner == by.key and may_manage(by, row)


def latest_firings(row: Schedule, limit: int) -> list[Firing]:
    """Return the last firings of a schedule, newest first."""
    return list(_with_runs(row.firings.order_by("-due_at"))[:limit])


def _with_runs(rows: "QuerySet[R]") -> "QuerySet[R]":
    """Read the runs of firings or deliveries too, without their large columns."""
    unread = (f"run__{name}" for name in LARGE)
    return rows.select_related("run__revision__plan").defer(*unread)


def last_due(row: Schedule) -> datetime | None:
    """Return the last time that a schedule has fired or skipped."""
    # No two firings overlap, so the latest one ends last; the index has its place.
    return row.firings.order_by("-due_at").values_list("last_due_at", flat=True).first()


def open_run(row: Schedule) -> Run | None:
    """Return the newest run of a schedule that has not finished."""
    # Only the last ones: the check takes as long after many firings.
    proposed = row.firings.filter(run__isnull=False).order_by("-due_at")
    latest = proposed.values("run")[:LATEST_RUNS]
    runs = Run.objects.filter(pk__in=latest).exclude(state__in=FINAL_RUN)
    return runs.only("pk").order_by("-created_at").first()


def due(at: datetime, limit: int) -> list[Schedule]:
    """Return the schedules with a firing that is due, the most overdue first.

    One that was postponed comes after those whose turn it is meanwhile.
    """
    rows = Schedule.objects.filter(next_at__lte=at).select_related("plan")
    rows = rows.filter(Q(retry_at=None) | Q(retry_at__lte=at))
    return list(rows.order_by(Coalesce("retry_at", "next_at"), "pk")[:limit])


def needing_attention(by: Actor, limit: int, *, sees_all: bool) -> list[Schedule]:
    """Return the schedules whose last firing was refused: all, or those of `by`."""
    rows = Schedule.objects.exclude(state=TriggerState.DELETED).filter(refusals__gt=0)
    if not sees_all:
        rows = rows.filter(owner=by.on_behalf_of)
    return list(rows.order_by("-refusals", "name")[:limit])
