"""Give rights on a plan to users and groups, and take them back."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.contrib.auth.models import Group
from django.db import transaction
from guardian.shortcuts import assign_perm, remove_perm

from audit import services as audit
from execfabric.identity.people import user_named
from execfabric.lib.actor import Actor, ActorKind
from orchestration.plans import selectors
from orchestration.plans.domain.rights import PlanRight
from orchestration.plans.errors import (
    GrantInvalid,
    GroupUnknown,
    PlanNotPermitted,
    PlanUnknown,
)
from orchestration.plans.models import Plan
from orchestration.plans.selectors import PlanGrant
from orchestration.plans.services.saving import STREAM


def grant(
    *,
    slug: str,
    right: PlanRight,
    user: str = "",
    group: str = "",
    by: Actor,
    at: datetime,
) -> Plan:
    """Give a right on a plan to a user or to a group; a repetition changes nothing.

    :raises PlanUnknown: when the plan does not exist or is hidden from `by`
    :raises PlanNotPermitted: when `by` is neither its owner nor an admin
    :raises GrantInvalid: unless exactly one of `user` and `group` is set
    :raises AccountUnknown: when no user has that name
    :raises GroupUnknown: when no group has that name
    """
    return _change("plan.right_granted", slug, right, user, group, by=by, at=at)


def revoke(
    *,
    slug: str,
    right: PlanRight,
    user: str = "",
    group: str = "",
    by: Actor,
    at: datetime,
) -> Plan:
    """Take back a right on a plan; the parameters and errors are those of `grant`."""
    return _change("plan.right_revoked", slug, right, user, group, by=by, at=at)


@transaction.atomic
def _change(
    kind: str,
    slug: str,
    right: PlanRight,
    user: str,
    group: str,
    *,
    by: Actor,
    at: datetime,
) -> Plan:
    plan = _managed(slug, by)
    if bool(user) == bool(group):
        raise GrantInvalid
    holder = user_named(user) if user else _group(group)
    row = PlanGrant(right, "user" if user else "group", user or group)
    is_granted, granting = row in selectors.grants(plan), kind == "plan.right_granted"
    if is_granted != granting:
        change: Callable[..., Any] = assign_perm if granting else remove_perm
        change(f"{right}_plan", holder, plan)
        fact = {
            "plan": slug,
            "right": str(right),
            "holder": f"{row.kind} {row.name}",
        }
        changed = audit.Fact(kind, fact, component=f"plan:{slug}")
        audit.append(STREAM, [changed], by=by, at=at)
    return plan


def _managed(slug: str, by: Actor) -> Plan:
    """Return a plan whose rights `by` may change, locked."""
    if by.kind is not ActorKind.SYSTEM and not selectors.may_grant(
        by, selectors.get(by, slug)
    ):
        raise PlanNotPermitted(plan=slug)
    plan = Plan.objects.select_for_update().filter(slug=slug).first()
    if plan is None:
        raise PlanUnknown(plan=slug)
    return plan


def _group(name: str) -> Group:
    group = Group.objects.filter(name=name).first() if "\0" not in name else None
    if group is None:
        raise GroupUnknown(f"Unknown group {name!r}.")
    return group
