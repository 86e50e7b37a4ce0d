"""Make steps ready again that a worker claimed but certainly did not start."""

import logging
import time
from datetime import datetime

from django.conf import settings

from execfabric.infra import database
from execfabric.lib import clock
from orchestration.runs.engine import attempts
from orchestration.runs.worker import handover, outage
from orchestration.skills.execution import discard

log = logging.getLogger(__name__)


def own(session: str) -> None:
    """Make the step ready that this worker may have claimed and did not start."""
    evidence = "The worker did not start the step."
    try:
        outage.retry(lambda: attempts.not_started(session, evidence, at=clock.now()))
    except Exception:
        # Its lease expires, and the keeper finds it.
        log.exception("Cannot give back the attempt %s.", session)


def of_dead_workers(at: datetime) -> int:
    """Make the steps ready that dead processes of this host claimed and did not start.

    Return how many processes to look at again: their claim may still be on its way to
    the database.

    :raises OperationalError: when the database is unreachable
    """
    settled = [_settle(dead, at) for dead in handover.dead_workers(settings.WORKER_DIR)]
    return settled.count(False)


def _settle(dead: handover.DeadWorker, at: datetime) -> bool:
    evidence = "The worker ended before it started the step."
    # Measured before the look: none of its statements can reach the database after it.
    age = time.time() - dead.written_at
    is_too_old = age > database.LEASES * settings.LEASE_SECONDS
    try:
        is_settled = not dead.session or attempts.not_started(
            dead.session, evidence, at=at
        )
    except outage.TRANSIENT:
        raise
    except Exception:
        log.exception("Cannot give back the attempt of %s.", dead.home.name)
        is_settled = False
    if is_settled or is_too_old:
        discard(dead.home)
    return is_settled or is_too_old
