"""Looking after one attempt while its handler works: its lease and its log."""

import time

from django.conf import settings
from django.db import connection

from orchestration.runs.domain.states import RunState
from orchestration.runs.services import attempts, outage
from orchestration.runs.services.attempts import Grip
from orchestration.runs.services.step_log import StepLog

SELF_FENCE_MARGIN_S = 2.0


class FenceLost(Exception):
    """The lease passed to somebody else; nothing of this attempt counts any more."""


class Cancelled(Exception):
    """The run is being cancelled, and cutting this attempt off is harmless."""


class Watch:
    """The lease and the log of one attempt while its handler works."""

    def __init__(self, grip: Grip) -> None:
        self.grip = grip
        self.log = StepLog(
            run_id=grip.run_id, step_run_id=grip.step_run_id, fence=grip.fence
        )
        now = time.monotonic()
        self.next_beat = now + settings.HEARTBEAT_SECONDS
        self._safe_until = now + settings.LEASE_SECONDS - SELF_FENCE_MARGIN_S

    def beat(self) -> None:
        """Renew the lease when it is time; write the log that has come in.

        :raises FenceLost: when the lease is somebody else's, or could not be
            renewed for so long that it may be
        :raises Cancelled: when the run is being cancelled and stopping is harmless
        """
        self.log.write_due()
        if time.monotonic() < self.next_beat:
            return
        self.next_beat = time.monotonic() + settings.HEARTBEAT_SECONDS
        try:
            state = _renew(self.grip)
        except outage.PASSING:
            connection.close()
            if time.monotonic() > self._safe_until:
                raise FenceLost from None
            return
        if state is None:
            raise FenceLost
        self._safe_until = (
            time.monotonic() + settings.LEASE_SECONDS - SELF_FENCE_MARGIN_S
        )
        if state == RunState.CANCELLING and attempts.may_rerun(
            self.grip.spec["effect_class"]
        ):
            raise Cancelled


_RENEW = """
UPDATE runs_steprun AS step SET lease_until = clock_timestamp() + %s * interval '1 s'
FROM runs_run AS run
WHERE step.id = %s AND step.fence = %s AND step.state = 'running'
  AND run.id = step.run_id
RETURNING run.state
"""


def _renew(grip: Grip) -> str | None:
    with connection.cursor() as cursor:
        cursor.execute(_RENEW, [settings.LEASE_SECONDS, grip.step_run_id, grip.fence])
        found = cursor.fetchone()
    return found[0] if found else None
