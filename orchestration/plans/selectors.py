"""Reading plans and their revisions."""

import hashlib
from functools import lru_cache

from execfabric.lib import canonical
from orchestration.plans.domain.document import PlanDocument, from_normal_form
from orchestration.plans.models import PlanRevision


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
