"""Publish a skill version, with the plans that it affects in the audit log."""

from datetime import datetime
from uuid import UUID

from execfabric.lib.actor import Actor
from orchestration.plans import selectors as plans
from orchestration.skills import selectors as skills
from orchestration.skills.models import SkillVersion
from orchestration.skills.services import registry


def publish(
    *, version_id: UUID, digest: str, reason: str, by: Actor, at: datetime
) -> SkillVersion:
    """Publish a draft; `registry.publish` says what is refused."""
    slug = skills.version(by, version_id).skill.slug
    return registry.publish(
        version_id=version_id,
        digest=digest,
        reason=reason,
        affected=[use.plan.slug for use in plans.using(slug)],
        by=by,
        at=at,
    )
