"""Reading plans and their revisions."""

import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache

from execfabric.infra import database
from execfabric.lib import canonical
from orchestration.plans.domain.document import PlanDocument, from_normal_form
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
    """A plan whose newest revision uses a skill, and the steps that do."""

    plan: Plan
    steps: tuple[str, ...]


def using(skill: str) -> list[Use]:
    """Return the plans whose newest revision uses a skill, by slug."""
    # The body is canonical JSON, so the key and its value have one spelling.
    ids = [row[0] for row in database.rows(_USING, [f'"skill":{json.dumps(skill)}'])]
    found = PlanRevision.objects.filter(pk__in=ids).select_related("plan")
    uses = (
        Use(
            revision.plan,
            tuple(s.id for s in document(revision).steps if s.skill == skill),
        )
        for revision in found.order_by("plan__slug")
    )
    return [use for use in uses if use.steps]


def document(revision: PlanRevision) -> PlanDocument:
    """What a revision says, read from the bytes that are stored now."""
    return _parsed(bytes(revision.body))


def content_digest(revision: PlanRevision) -> str:
    """The digest of the bytes that are stored now, whatever the row's column says."""
    return _digest(bytes(revision.body))


@lru_cache(maxsize=256)
def _parsed(body: bytes) -> PlanDocument:
    return from_normal_form(canonical.loads(body))


@lru_cache(maxsize=256)
def _digest(body: bytes) -> str:
    return hashlib.sha256(b"execfabric/plan/v1\n" + body).hexdigest()
