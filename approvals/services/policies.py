"""Publish and retire policies; a published version never changes."""

from dataclasses import asdict
from datetime import datetime

from django.db import transaction
from django.db.models import Max

from approvals import history
from approvals.domain.policy import EFFECT_CLASSES, Rule
from approvals.domain.seats import merge
from approvals.errors import PolicyInvalid, PolicyUnknown
from approvals.models import Policy
from approvals.services.gates import require_satisfiable
from audit import services as audit
from audit.services import Fact
from execfabric.identity.authority import require
from execfabric.infra import database
from execfabric.lib.actor import Actor
from execfabric.lib.rights import Right
from execfabric.lib.risk import Risk
from execfabric.lib.text import is_visible

STREAM = "policy"
_ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtext('approvals.policy'))"


@transaction.atomic
def publish_policy(*, draft: Rule, by: Actor, at: datetime) -> Policy:
    """Publish a new version of a policy, and retire the previous version.

    :raises PolicyInvalid: if a field is missing or invalid
    :raises Unsatisfiable: if the current people could not approve
    """
    require(by, Right.POLICY)
    _check(draft)
    requirements = merge(draft.requirements)
    require_satisfiable(requirements=requirements, excluded=())
    database.row(_ONE_AT_A_TIME, [])
    same = Policy.objects.filter(name=draft.name)
    version = (same.aggregate(last=Max("version"))["last"] or 0) + 1
    retired = list(same.filter(retired_at__isnull=True))
    same.filter(retired_at__isnull=True).update(retired_at=at)
    stated = asdict(draft) | {
        "version": version,
        "requirements": [r.as_fact() for r in requirements],
    }
    policy = Policy.objects.create(
        **stated,
        published_at=at,
        published_by_key=by.key,
        published_by_name=by.name,
    )
    rows = [history.POLICY.changed(old, {"retired_at": at}) for old in retired]
    fact = Fact(
        "policy.published",
        stated,
        component=f"policy:{policy.name}",
        rows=(history.POLICY.born(policy), *rows),
    )
    audit.append(STREAM, [fact], by=by, at=at)
    return policy


@transaction.atomic
def retire_policy(*, name: str, reason: str, by: Actor, at: datetime) -> Policy:
    """Retire a policy; gates that it opened do not change.

    :raises PolicyUnknown: when no version of that name is in force
    """
    require(by, Right.POLICY)
    found = Policy.objects.select_for_update().filter(
        name=name, retired_at__isnull=True
    )
    policy = found.first()
    if policy is None:
        raise PolicyUnknown(name=name)
    policy.retired_at = at
    policy.save(update_fields=["retired_at"])
    payload = {"name": name, "version": policy.version, "reason": reason}
    fact = Fact(
        "policy.retired",
        payload,
        component=f"policy:{name}",
        rows=(history.POLICY.changed(policy, {"retired_at": at}),),
    )
    audit.append(STREAM, [fact], by=by, at=at)
    return policy


def _check(draft: Rule) -> None:
    if not is_visible(draft.name):
        raise PolicyInvalid("Cannot publish the policy: a name is required.")
    if not is_visible(draft.reason):
        raise PolicyInvalid("Cannot publish the policy: a reason is required.")
    if not draft.requirements:
        raise PolicyInvalid("Cannot publish the policy: a group is required.")
    if draft.risk_at_least not in {"", *Risk}:
        raise PolicyInvalid(
            f"Invalid risk {draft.risk_at_least!r}. Use {', '.join(Risk)}."
        )
    if draft.effect_class not in {"", *EFFECT_CLASSES}:
        raise PolicyInvalid(
            f"Invalid effect class {draft.effect_class!r}."
            f" Use {', '.join(EFFECT_CLASSES)}."
        )
    if draft.expires_after_s is not None and draft.expires_after_s < 1:
        raise PolicyInvalid(
            f"Invalid expiry {draft.expires_after_s!r}. Use at least 1 second."
        )
