"""Alert those who watch the logs; pages and the API show the same events."""

import logging
from collections.abc import Sequence
from uuid import UUID

from django.db import transaction

from audit.services import Fact

BREACHES = frozenset({"run.sla_breached", "step.sla_breached"})
ROLLBACK_FAILED = "run.rollback_failed"
log = logging.getLogger(__name__)


def after_commit(run_id: UUID, facts: Sequence[Fact]) -> None:
    """Log each breach and each failed rollback of a change, once it has committed."""
    kinds = {*BREACHES, ROLLBACK_FAILED}
    if found := [fact for fact in facts if fact.kind in kinds]:
        # Not a partial: Django logs the name of a robust callback.
        transaction.on_commit(lambda: _alert(run_id, found), robust=True)


def _alert(run_id: UUID, facts: Sequence[Fact]) -> None:
    for fact in facts:
        if fact.kind == ROLLBACK_FAILED:
            reason = fact.payload["reason"]
            log.error("The rollback of run %s needs an operator. %s", run_id, reason)
            continue
        kind, _, name = fact.component.partition(":")
        log.warning(
            "%s %s of run %s is past its service level; it was due at %s.",
            "Step" if kind == "step" else "Plan",
            name,
            run_id,
            fact.payload["due_at"],
        )
