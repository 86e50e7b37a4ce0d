"""What schedules and webhooks share: who may have one, and how a change is recorded."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, TypeVar

from django.db.models import QuerySet

from audit import services as audit
from audit.domain.rows import RowFact
from execfabric.identity import authority
from execfabric.lib.actor import Actor, ActorKind
from execfabric.lib.rights import Right
from orchestration.plans import selectors as plans
from orchestration.plans.domain.rights import PlanRight
from orchestration.plans.errors import PlanNotPermitted
from orchestration.plans.models import Plan
from orchestration.triggers import history, selectors
from orchestration.triggers.domain.states import TRIGGER, TriggerEvent, TriggerState
from orchestration.triggers.errors import (
    OwnerInactive,
    TooManyTriggers,
    TriggerNameInvalid,
    TriggerNeedsPerson,
    TriggerNotManaged,
)
from orchestration.triggers.models import Hook, Trigger

MOST_OF_A_USER = 100
"""Schedules of one user, and webhooks of one user."""
LONGEST_NAME = 100
T = TypeVar("T", bound=Trigger)


def startable(slug: str, by: Actor) -> Plan:
    """Return a plan whose runs `by` may propose.

    :raises TriggerNeedsPerson: when `by` is not a user
    :raises RightMissing: when `by` may not propose
    :raises PlanUnknown: when the plan does not exist or is hidden from `by`
    :raises PlanNotPermitted: when `by` may not start it
    """
    if by.kind is not ActorKind.USER:
        raise TriggerNeedsPerson
    authority.require(by, Right.PROPOSE)
    plan = plans.get(by, slug)
    if not plans.may(by, PlanRight.START, plan):
        raise PlanNotPermitted(plan=slug)
    return plan


def check_name(name: str) -> None:
    """Refuse a name that is empty or too long."""
    if not 0 < len(name.strip()) <= LONGEST_NAME:
        raise TriggerNameInvalid


def require_few(rows: "QuerySet[Any]", by: Actor) -> None:
    """Refuse if `by` already has the most rows that are allowed."""
    live = rows.exclude(state=TriggerState.DELETED)
    if live.filter(owner=by.key).count() >= MOST_OF_A_USER:
        raise TooManyTriggers(most=MOST_OF_A_USER)


def require_managed(by: Actor, row: T) -> T:
    """Return the row if `by` is the owner in person or an admin, else refuse."""
    if not selectors.may_manage(by, row):
        raise TriggerNotManaged
    return row


def require_owner(by: Actor, row: Hook, act: str) -> None:
    """Refuse unless `by` is the owner in person; who has a secret acts in their name."""
    if not selectors.may_rotate(by, row):
        raise TriggerNotManaged(f"Only the owner may {act}.")


def require_active(owner: Actor) -> None:
    """Refuse if the owner of a schedule or webhook has been deactivated."""
    if authority.person_of(owner) is None:
        raise OwnerInactive


def locked(row: T) -> T:
    """Lock a schedule or webhook, and read it again."""
    rows = type(row)._default_manager.select_related("plan")  # noqa: SLF001
    return rows.select_for_update(of=("self",)).get(pk=row.pk)


def moved(row: Trigger, event: TriggerEvent) -> dict[str, Any]:
    """Return the column of the next state.

    :raises IllegalTransition: when the table has no such move
    """
    return {"state": str(TRIGGER.next(TriggerState(row.state), event))}


def write(row: Trigger, values: Mapping[str, Any], **unrecorded: Any) -> RowFact:
    """Write columns of a locked row; return what its event records."""
    changed = {**values, **unrecorded, "version": row.version + 1}
    for name, value in changed.items():
        setattr(row, name, value)
    row.save(update_fields=list(changed))
    return history.TRIGGERS[type(row)].changed(row, values)


def record(
    row: Trigger,
    kind: str,
    payload: Mapping[str, Any],
    rows: list[RowFact],
    *,
    by: Actor,
    at: datetime,
) -> None:
    """Append an event to the stream of a schedule or webhook."""
    named = {row.kind: str(row.pk), "name": row.name, **payload}
    component = f"plan:{row.plan.slug}"
    fact = audit.Fact(kind, named, component=component, rows=tuple(rows))
    audit.append(row.stream, [fact], by=by, at=at)
