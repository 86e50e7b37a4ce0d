"""Monitor one attempt: its lease, its deadline and its log."""

import logging

from django.conf import settings
from django.db import connection

from execfabric.lib import clock
from orchestration.runs.domain import outcome
from orchestration.runs.domain.states import RunState
from orchestration.runs.engine import store
from orchestration.runs.engine.attempts import Lease
from orchestration.runs.worker import outage
from orchestration.runs.worker.step_log import StepLog

SAFE_SHARE = 0.8
"""The fraction of a lease for which a worker relies on it."""
PROMPT_S = 0.25
"""Seconds after its claim in which a step begins without another look."""
log = logging.getLogger(__name__)


class LeaseLost(Exception):
    """Another worker may hold the lease; this attempt no longer counts."""


class Cancelled(Exception):
    """The run is cancelled or the step stopped, and ending this attempt is safe."""


class AttemptMonitor:
    """The lease, the deadline and the log of one attempt, from its claim to its end."""

    def __init__(self, lease: Lease, *, since: float) -> None:
        # `since` is the time since boot before the claim was sent: its answer may have
        # come late.
        self.lease = lease
        self.log = StepLog(
            run_id=lease.run_id, step_run_id=lease.step_run_id, fence=lease.fence
        )
        self.deadline = since + float(lease.spec["timeout_s"])
        self.next_beat = self._safe_until = self._claimed_at = since
        self._renewed(since)

    @property
    def valid_until(self) -> float:
        """Return the latest time to start the handler."""
        return min(self._safe_until, self.deadline)

    def heartbeat(self) -> None:
        """Renew the lease and write new log output, if it is time.

        :raises LeaseLost: when another worker holds the lease, or may hold it because it
            could not be renewed for too long
        :raises Cancelled: when the run is being cancelled and interrupting is safe
        """
        now = clock.since_boot()
        if now >= self.next_beat:
            self.next_beat = now + settings.HEARTBEAT_SECONDS
            self._renew(now)
        # Second: without the lease this attempt must not write to the log.
        self.log.write_due()

    def check_begin(self) -> None:
        """Check once more that a step may begin, unless it was claimed just now.

        To fetch its files may take long. Nothing has happened yet, so this holds for every
        class of effects.

        :raises Cancelled: when its run is being cancelled, or a stop covers it
        """
        if clock.since_boot() < self._claimed_at + PROMPT_S:
            return
        skill = self.lease.spec["skill"]["slug"]
        try:
            called_off = store.is_called_off(self.lease.step_run_id, skill)
        except outage.TRANSIENT:
            connection.close()
            return
        if called_off:
            raise Cancelled

    def keep_lease(self) -> None:
        """Renew the lease if it is time, while a known result is being stored.

        Never raises: recording the result decides if it still counts.
        """
        try:
            self.heartbeat()
        except (LeaseLost, Cancelled):
            pass
        except Exception:
            log.exception("Cannot renew the lease of %s.", self.lease.step_run_id)

    def _renew(self, now: float) -> None:
        try:
            state = store.renew_lease(self.lease.step_run_id, self.lease.fence)
        except outage.TRANSIENT:
            connection.close()
            if now > self._safe_until:
                raise LeaseLost from None
            return
        if state is None:
            raise LeaseLost
        self._renewed(now)
        if state == RunState.CANCELLING and outcome.may_rerun(
            self.lease.spec["effect_class"]
        ):
            raise Cancelled

    def _renewed(self, at: float) -> None:
        self.next_beat = at + settings.HEARTBEAT_SECONDS
        self._safe_until = at + SAFE_SHARE * settings.LEASE_SECONDS
