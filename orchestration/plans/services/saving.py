"""Save revisions of plans. Only the owners of a plan add revisions to it."""

from datetime import datetime

from django.db import transaction
from django.db.models import Max

from audit import services as audit
from execfabric.infra import disk
from execfabric.lib import canonical
from execfabric.lib.actor import Actor
from orchestration.plans import history, selectors
from orchestration.plans.domain.document import PlanDocument, normal_form
from orchestration.plans.errors import PlanIdTaken
from orchestration.plans.models import Plan, PlanRevision
from orchestration.plans.services import check

STREAM = "plans"
"""The stream of saved plans and of the rights on plans."""


def save_plan(*, text: str, by: Actor, at: datetime) -> PlanRevision:
    """Save a plan without a run; unchanged content is not saved again.

    :raises DiskFull: when there is no room for new work
    :raises RightMissing: when `by` may not propose
    :raises PlanInvalid: with every problem in `details["problems"]`
    :raises PlanIdTaken: when the id belongs to another user
    """
    disk.require_space()
    checked = check.check(text=text, inputs=None, by=by, at=at)
    document = checked.require_valid()
    with transaction.atomic(durable=True):
        revision, is_new = stored(document, checked.digest, text, by=by, at=at)
        if not is_new and not selectors.may_see(by, revision.plan):
            message = (
                f"The plan id {document.id!r} belongs to another user, who has saved the"
                " same content. Propose it, or choose another id."
            )
            raise PlanIdTaken(message, plan=document.id)
        if is_new:
            fact = {
                "plan": document.id,
                "revision": revision.number,
                "digest": revision.digest,
            }
            rows = (history.PLAN.born(revision.plan), history.REVISION.born(revision))
            saved = audit.Fact(
                "plan.saved", fact, component=f"plan:{document.id}", rows=rows
            )
            audit.append(STREAM, [saved], by=by, at=at)
    return revision


def stored(
    document: PlanDocument, digest: str, text: str, *, by: Actor, at: datetime
) -> tuple[PlanRevision, bool]:
    """Return the stored revision of this content, and True if it is new.

    A revision keeps its first author.

    :raises PlanIdTaken: when the id belongs to another user, and the content is new
    """
    plan, _ = Plan.objects.get_or_create(
        slug=document.id, defaults={"name": document.name, "created_at": at}
    )
    # Locked, so that of two users who save a new id at once one is the owner.
    plan = Plan.objects.select_for_update().get(pk=plan.pk)
    require_own(plan, digest, by=by)
    revision = selectors.saved_of(plan).filter(digest=digest).first()
    if revision is not None:
        return revision, False
    newest = plan.revisions.aggregate(newest=Max("number"))["newest"] or 0
    revision = PlanRevision.objects.create(
        plan=plan,
        number=newest + 1,
        body=canonical.dumps(normal_form(document)),
        digest=digest,
        source=text,
        author=by.key,
        author_name=by.name,
        author_owner=by.owner_key,
        created_at=at,
    )
    return revision, True


def require_own(plan: Plan, digest: str, *, by: Actor) -> None:
    """Refuse unless `by` may use the id of a plan for this content.

    :raises PlanIdTaken: see `check.id_problem`
    """
    if message := check.id_problem(plan, digest, by=by):
        raise PlanIdTaken(message, plan=plan.slug)
