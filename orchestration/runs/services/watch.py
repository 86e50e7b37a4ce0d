"""Looking after one attempt while its handler works: its lease and its log."""

import time

from django.conf import settings
from django.db import connection

from execfabric.lib import clock
from orchestration.runs import live
from orchestration.runs.domain.states import RunState
from orchestration.runs.models import LogChunk
from orchestration.runs.services import attempts, outage
from orchestration.runs.services.attempts import Grip

LOG_EVERY_S = 0.25
SELF_FENCE_MARGIN_S = 2.0


class FenceLost(Exception):
    """The lease passed to somebody else; nothing of this attempt counts any more."""


class Cancelled(Exception):
    """The run is being cancelled, and cutting this attempt off is harmless."""


class Watch:
    """The lease and the log of one attempt while its handler works."""

    def __init__(self, grip: Grip) -> None:
        self.grip = grip
        self.log = _StepLog(grip)
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


class _StepLog:
    """Collects what a handler writes and stores it in pieces."""

    def __init__(self, grip: Grip) -> None:
        self._grip = grip
        self._parts: list[str] = []
        self._offset: int | None = None
        self._written_at = time.monotonic()
        self.dropped = 0
        self.is_empty = True

    def add(self, text: str) -> None:
        self.is_empty = False
        self._parts.append(text)

    def write_due(self) -> None:
        if self._parts and time.monotonic() - self._written_at >= LOG_EVERY_S:
            self._write()

    def close(self) -> None:
        if self.dropped:
            self.add(f"\n[{self.dropped} more bytes were written and not kept]\n")
        for _ in range(2):  # the second time on a new connection
            if self._parts:
                self._write()

    def _write(self) -> None:
        """Store what has come in; what cannot be stored now waits for the next time."""
        try:
            self._store("".join(self._parts))
        except outage.PASSING:
            # No log is worth the result of the step.
            connection.close()
            self._offset = None
        else:
            self._parts = []
            live.run_changed(self._grip.run_id)
        self._written_at = time.monotonic()

    def _store(self, text: str) -> None:
        if self._offset is None:
            ends = LogChunk.objects.filter(step_run_id=self._grip.step_run_id)
            last = ends.order_by("-offset").first()
            self._offset = last.offset + len(last.text) if last else 0
        LogChunk.objects.create(
            step_run_id=self._grip.step_run_id,
            fence=self._grip.fence,
            offset=self._offset,
            text=text,
            at=clock.now(),
        )
        self._offset += len(text)
