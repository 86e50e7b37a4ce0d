"""Read plans and their revisions."""

import hashlib
import json
from dataclasses import dataclass

from execfabric.infra import database
from execfabric.lib import canonical
from execfabric.lib.memo import DigestCache
from orchestration.plans.domain.document import (
    DIGEST_DOMAIN,
    PlanDocument,
    from_normal_form,
)
from orchestration.plans.models import Plan, PlanRevision

_USING = """
SELECT id FROM (
  SELECT DISTINCT ON (plan_id) id, body FROM plans_planrevision
  ORDER BY plan_id, number DESC
) AS newest
WHERE position(convert_to(%s, 'UTF8') IN body) > 0
"""


@dataclass(frozen=True)
class Use:
    """A plan whose newest revision uses a skill, and the steps that use it."""

    plan: Plan
    steps: tuple[str, ...]


def using(skill: str) -> list[Use]:
    """Return the plans whose newest revision uses a skill, by slug."""
    # The body is canonical JSON, so the key and its value have one spelling.
    ids = [row[0] for row in database.rows(_USING, [f'"skill":{json.dumps(skill)}'])]
    revisions = PlanRevision.objects.filter(pk__in=ids).select_related("plan")
    uses = (
        Use(
            revision.plan,
            tuple(s.id for s in document(revision).steps if s.skill == skill),
        )
        for revision in revisions.order_by("plan__slug")
    )
    return [use for use in uses if use.steps]


def document(revision: PlanRevision) -> PlanDocument:
    """Return the document of a revision, read from the bytes stored now."""
    return _parsed(bytes(revision.body))


def content_digest(revision: PlanRevision) -> str:
    """Return the digest of the bytes stored now, without using the digest column."""
    domain = f"{DIGEST_DOMAIN}\n".encode()
    return hashlib.sha256(domain + bytes(revision.body)).hexdigest()


def _parse(body: bytes) -> PlanDocument:
    return from_normal_form(canonical.loads(body))


_parsed = DigestCache(_parse, max_bytes=8 << 20)
