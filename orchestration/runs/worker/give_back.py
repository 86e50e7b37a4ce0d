"""Steps that a worker claimed and certainly never began: they are ready again."""

import logging
from datetime import datetime

from django.conf import settings

from execfabric.infra import database
from execfabric.lib import clock
from execfabric.lib.actor import Actor, system
from orchestration.runs.engine import attempts
from orchestration.runs.worker import handover, outage

BY: Actor = system("worker")
log = logging.getLogger(__name__)


def own(session: str) -> None:
    """Give back what this worker may have claimed and did not hand over."""
    evidence = "Its worker did not hand it over."
    try:
        outage.insist(
            lambda: attempts.not_started(session, evidence, by=BY, at=clock.now())
        )
    except Exception:
        # Its lease lapses, and the keeper finds it.
        log.exception("Cannot give back the attempt %s.", session)


def left(at: datetime) -> int:
    """Give back what dead processes of this host claimed and did not hand over.

    Return how many of them have to be looked at again: a claim of theirs may still be
    on its way to the database.

    :raises OperationalError: when the server is away
    """
    found = [_settled(dead, at) for dead in handover.left(settings.WORKER_DIR)]
    return found.count(False)


def _settled(dead: handover.Left, at: datetime) -> bool:
    is_late = dead.age() > database.LEASES * settings.LEASE_SECONDS
    try:
        is_over = not dead.session or attempts.not_started(
            dead.session, "Its worker ended before it handed it over.", by=BY, at=at
        )
    except outage.PASSING:
        raise
    except Exception:
        log.exception("Cannot give back what %s has left.", dead.home.name)
        is_over = False
    if is_over or is_late:
        dead.remove()
    return is_over or is_late
