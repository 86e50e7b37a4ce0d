"""Looking after one attempt: its lease, its deadline and its log."""

import logging

from django.conf import settings
from django.db import connection

from execfabric.lib import clock
from orchestration.runs.domain import outcome
from orchestration.runs.domain.states import RunState
from orchestration.runs.engine import store
from orchestration.runs.engine.attempts import Grip
from orchestration.runs.worker import outage
from orchestration.runs.worker.step_log import StepLog

SAFE_SHARE = 0.8
"""The part of a lease after which it is not relied on any more."""
log = logging.getLogger(__name__)


class FenceLost(Exception):
    """The lease passed to somebody else; nothing of this attempt counts any more."""


class Cancelled(Exception):
    """The run is being cancelled, and cutting this attempt off is harmless."""


class Watch:
    """The lease, the deadline and the log of one attempt, from its claim to its end."""

    def __init__(self, grip: Grip, *, since: float) -> None:
        """`since` is the time since boot before the claim was sent.

        Nothing counts from the answer: it may have come late.
        """
        self.grip = grip
        self.log = StepLog(
            run_id=grip.run_id, step_run_id=grip.step_run_id, fence=grip.fence
        )
        self.deadline = since + float(grip.spec["timeout_s"])
        self.next_beat = self._safe_until = since
        self._renewed(since)

    @property
    def valid_until(self) -> float:
        """Until when the handler may be started: the lease is certainly held."""
        return min(self._safe_until, self.deadline)

    def beat(self) -> None:
        """Renew the lease when it is time; write the log that has come in.

        :raises FenceLost: when the lease is somebody else's, or could not be
            renewed for so long that it may be
        :raises Cancelled: when the run is being cancelled and stopping is harmless
        """
        now = clock.since_boot()
        if now >= self.next_beat:
            self.next_beat = now + settings.HEARTBEAT_SECONDS
            self._renew(now)
        # Second, because the log of an attempt that was lost is somebody else's.
        self.log.write_due()

    def hold(self) -> None:
        """Renew the lease when it is time, for a known result that is being stored.

        Nothing is raised: whether the result still counts is decided when it is
        recorded.
        """
        try:
            self.beat()
        except (FenceLost, Cancelled):
            pass
        except Exception:
            log.exception("Cannot renew the lease of %s.", self.grip.step_run_id)

    def _renew(self, now: float) -> None:
        try:
            state = store.renew_lease(self.grip.step_run_id, self.grip.fence)
        except outage.PASSING:
            connection.close()
            if now > self._safe_until:
                raise FenceLost from None
            return
        if state is None:
            raise FenceLost
        self._renewed(now)
        if state == RunState.CANCELLING and outcome.may_rerun(
            self.grip.spec["effect_class"]
        ):
            raise Cancelled

    def _renewed(self, at: float) -> None:
        self.next_beat = at + settings.HEARTBEAT_SECONDS
        self._safe_until = at + SAFE_SHARE * settings.LEASE_SECONDS
