"""Read plans, their revisions, and rights on them."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import OuterRef, Q, QuerySet, Subquery
from guardian.shortcuts import get_objects_for_user

from execfabric.identity import authority
from execfabric.identity.models import names_of
from execfabric.infra import database
from execfabric.lib import canonical, numbers
from execfabric.lib.actor import Actor
from execfabric.lib.memo import DigestCache
from execfabric.lib.rights import Right
from orchestration.plans.domain.differences import FieldChange, field_changes
from orchestration.plans.domain.document import (
    DIGEST_DOMAIN,
    PlanDocument,
    StepDocument,
    from_normal_form,
)
from orchestration.plans.domain.rights import INCLUDED_IN, PlanRight
from orchestration.plans.errors import PlanUnknown, RevisionUnknown
from orchestration.plans.models import (
    EDITED,
    Plan,
    PlanGroupPermission,
    PlanRevision,
    PlanUserPermission,
)

# The body is canonical JSON, so a key and its value have one spelling.
_MENTIONING = """
SELECT id FROM (
  SELECT DISTINCT ON (plan_id) id, body FROM plans_planrevision
  ORDER BY plan_id, number DESC
) AS newest
WHERE EXISTS (
  SELECT FROM unnest(%s::text[]) AS part
  WHERE position(convert_to(part, 'UTF8') IN body) > 0
)
"""


@dataclass(frozen=True)
class Use:
    """A plan whose newest revision uses a skill or a plan, and the steps that do."""

    plan: Plan
    steps: tuple[str, ...]


def using(skill: str) -> list[Use]:
    """Return the plans whose newest revision uses a skill, with those steps."""
    texts = [f'"skill":{json.dumps(skill)}']
    return _uses(Plan.objects.all(), texts, lambda step: step.skill == skill)


def containing(by: Actor, plan: Plan) -> list[Use]:
    """Return the visible plans whose newest revision runs a plan, with those steps."""
    key = f'"plan":"{plan.slug}'
    texts = [f'{key}"', f"{key}@"]
    return _uses(visible_to(by), texts, lambda step: step.plan_id == plan.slug)


def _uses(
    plans: QuerySet[Plan], texts: list[str], is_use: Callable[[StepDocument], bool]
) -> list[Use]:
    """Return the plans whose newest revision has one of the texts and such a step."""
    ids = [row[0] for row in database.rows(_MENTIONING, [texts])]
    rows = PlanRevision.objects.filter(pk__in=ids, plan__in=plans)
    uses = (
        Use(row.plan, tuple(step.id for step in document(row).steps if is_use(step)))
        for row in rows.select_related("plan").order_by("plan__slug")
    )
    return [use for use in uses if use.steps]


@dataclass(frozen=True)
class PlanGrant:
    """A right on a plan that a user or a group has been given."""

    right: PlanRight
    kind: str
    """`user` or `group`."""
    name: str


def permitted(by: Actor, right: PlanRight) -> QuerySet[Plan]:
    """Return the plans on which `by` has a right, by ownership or by a grant."""
    person = authority.person_of(by)
    if person is None:
        return Plan.objects.none()
    names = [f"plans.{each}_plan" for each in INCLUDED_IN[right]]
    granted = get_objects_for_user(
        person,
        names,
        klass=Plan,
        any_perm=True,
        with_superuser=False,
        accept_global_perms=False,
    )
    return Plan.objects.filter(
        Q(pk__in=_owned(by.on_behalf_of)) | Q(pk__in=granted.values("pk"))
    )


def visible_to(by: Actor) -> QuerySet[Plan]:
    """Return the plans that `by` may see."""
    if Right.SEE_ALL in authority.rights_of(by):
        return Plan.objects.all()
    return permitted(by, PlanRight.VIEW)


def may(by: Actor, right: PlanRight, plan: Plan) -> bool:
    return permitted(by, right).filter(pk=plan.pk).exists()


def author_of(slug: str, digest: str) -> Actor | None:
    """Return who first saved this content of a plan; None if it is new."""
    found = _saved().filter(plan__slug=slug, digest=digest)
    stored = found.values_list("author", "author_name", "author_owner").first()
    return Actor.stored(*stored) if stored else None


def may_see(by: Actor, plan: Plan) -> bool:
    return visible_to(by).filter(pk=plan.pk).exists()


def may_grant(by: Actor, plan: Plan) -> bool:
    """Return True for the owner in person and for admins."""
    return authority.may_manage(by, owner_key(plan))


def get(by: Actor, slug: str) -> Plan:
    """Return a visible plan.

    :raises PlanUnknown: when it does not exist or is hidden from `by`
    """
    plan = visible_to(by).filter(slug=slug).first()
    if plan is None:
        raise PlanUnknown(f"Unknown plan {slug!r}, or you do not have access to it.")
    return plan


def revision(plan: Plan, number: int | None = None) -> PlanRevision:
    """Return a revision of a plan; the newest without a number.

    :raises RevisionUnknown: when the plan does not have it
    """
    revisions = saved_of(plan).select_related("plan").order_by("-number")
    if number is not None:
        # A larger number would not fit the column.
        revisions = revisions.filter(number=min(number, 2**31 - 1))
    row = revisions.first()
    if row is None:
        raise RevisionUnknown(
            f"The plan {plan.slug!r} does not have a revision {number}."
        )
    return row


def named_revision(by: Actor, written: str) -> PlanRevision:
    """Return a revision of a visible plan by its name, such as `setup-auth@3`.

    :raises PlanUnknown: when the plan does not exist or is hidden from `by`
    :raises RevisionUnknown: when it does not have the revision
    """
    slug, sign, number = written.partition("@")
    plan = get(by, slug)
    if sign and not numbers.whole(number):
        raise RevisionUnknown(f"Invalid revision {number!r} of the plan {slug!r}.")
    return revision(plan, numbers.whole(number))


def latest_revisions(plan: Plan, limit: int) -> list[PlanRevision]:
    """Return the last revisions of a plan, newest first, without their content."""
    return list(saved_of(plan).defer("body", "source").order_by("-number")[:limit])


def saved_of(plan: Plan) -> QuerySet[PlanRevision]:
    """Return the saved revisions of a plan, without those that were edited in a run."""
    return plan.revisions.exclude(number=EDITED)


def _saved() -> QuerySet[PlanRevision]:
    return PlanRevision.objects.exclude(number=EDITED)


def with_newest(plans: QuerySet[Plan]) -> QuerySet[Plan]:
    """Annotate plans with number, name and time of their newest revision."""
    newest = PlanRevision.objects.filter(plan=OuterRef("pk")).order_by("-number")
    return plans.annotate(
        revision_count=Subquery(newest.values("number")[:1]),
        newest_name=Subquery(newest.values("name")[:1]),
        changed_at=Subquery(newest.values("created_at")[:1]),
    )


def newest_of(plans: Iterable[Plan]) -> list[PlanRevision]:
    """Return the newest revision of each plan, by the ids of the plans."""
    rows = PlanRevision.objects.filter(plan__in=list(plans)).select_related("plan")
    rows = rows.order_by("plan__slug", "-number").distinct("plan__slug")
    return list(rows.defer("source"))


def search(plans: QuerySet[Plan], text: str) -> QuerySet[Plan]:
    """Return the plans whose id or current name contains each word of a text."""
    plans = with_newest(plans)
    for word in text.split():
        plans = plans.filter(Q(slug__icontains=word) | Q(newest_name__icontains=word))
    return plans.order_by("slug")


def owner_key(plan: Plan) -> str:
    """Return the key of the user who owns a plan: of its first author."""
    return plan.revisions.get(number=1).responsible


def owner_name(plan: Plan) -> str:
    key = owner_key(plan)
    return names_of([key])[key]


def owner_names(plans: Iterable[Plan]) -> dict[UUID, tuple[str, str]]:
    """Return key and name of the owner of each plan."""
    first = PlanRevision.objects.filter(plan__in=plans, number=1)
    keys = {row.plan_id: row.responsible for row in first.defer("body", "source")}
    names = names_of(keys.values())
    return {plan: (key, names[key]) for plan, key in keys.items()}


def grants(plan: Plan) -> list[PlanGrant]:
    """Return the rights given on a plan, without those of its owner."""
    return sorted(
        _grants(plan), key=lambda grant: (grant.kind, grant.name, grant.right)
    )


def _grants(plan: Plan) -> Iterator[PlanGrant]:
    rows = PlanUserPermission.objects.filter(content_object=plan)
    for code, name in rows.values_list("permission__codename", "user__username"):
        yield PlanGrant(PlanRight(code.removesuffix("_plan")), "user", name)
    groups = PlanGroupPermission.objects.filter(content_object=plan)
    for code, name in groups.values_list("permission__codename", "group__name"):
        yield PlanGrant(PlanRight(code.removesuffix("_plan")), "group", name)


def _owned(key: str) -> QuerySet[PlanRevision, Any]:
    is_author = Q(author=key, author_owner="") | Q(author_owner=key)
    return PlanRevision.objects.filter(is_author, number=1).values("plan")


def document(revision: PlanRevision) -> PlanDocument:
    """Return the document of a revision, read from the bytes stored now."""
    return _parsed(bytes(revision.body))


def edited_values(revision: PlanRevision) -> list[FieldChange]:
    """Return the parameters that an edit has changed; none for a saved revision."""
    if revision.parent is None:
        return []
    before, after = (
        document(row).by_id[revision.edited_step].params
        for row in (revision.parent, revision)
    )
    return list(field_changes(before, after))


def content_digest(revision: PlanRevision) -> str:
    """Return the digest of the bytes stored now, without using the digest column."""
    domain = f"{DIGEST_DOMAIN}\n".encode()
    return hashlib.sha256(domain + bytes(revision.body)).hexdigest()


def included(pins: Mapping[str, Mapping[str, Any]]) -> dict[str, PlanRevision]:
    """Return the revisions that plan steps are bound to, by the paths of the steps.

    :raises RevisionUnknown: when one of them is not stored
    """
    ids = {
        path: UUID(pin["revision_id"])
        for path, pin in pins.items()
        if "revision_id" in pin
    }
    if not ids:
        return {}
    rows = PlanRevision.objects.select_related("plan").defer("source")
    found = rows.in_bulk(ids.values())
    if missing := [path for path, pk in ids.items() if pk not in found]:
        raise RevisionUnknown(f"The plan of step {missing[0]!r} is not stored.")
    return {path: found[pk] for path, pk in ids.items()}


def included_documents(
    pins: Mapping[str, Mapping[str, Any]],
) -> dict[str, PlanDocument]:
    """Return the plans that plan steps are bound to, by the paths of the steps."""
    return {path: document(revision) for path, revision in included(pins).items()}


_parsed = DigestCache(
    lambda body: from_normal_form(canonical.loads(body)), max_bytes=8 << 20
)
