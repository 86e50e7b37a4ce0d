"""Isolate runs that the keeper cannot sweep: count, report and skip them for a while.

A run that cannot be read then neither stops nor delays the others.
"""

import logging
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.db import transaction

from audit import services as audit
from audit.services import Fact
from execfabric.infra import database
from execfabric.lib.actor import Actor
from execfabric.lib.refusal import Conflict, Refusal
from orchestration.runs import live
from orchestration.runs.models import Run, SweepFailure, stream_of

FORGET_AFTER = timedelta(minutes=1)
"""Time after a due retry until a failure that did not recur is removed."""
REPORTED_FAILURES = 3
"""Failures in a row after which the keeper reports the run and waits between tries."""
FIRST_PAUSE_S = 10
LONGEST_PAUSE_S = 600


class Duty(StrEnum):
    """A task of the keeper for one run."""

    LEASES = "leases"
    WAITS = "waits"
    GATES = "gates"
    STOPS = "stops"
    CANCEL = "cancel"
    STUCK = "stuck"
    DRY_RUNS = "dry_runs"
    SLA = "sla"
    QUEUES = "queues"


DESCRIPTIONS = {
    Duty.LEASES: "recover a step whose worker was lost",
    Duty.WAITS: "retry a step after its wait",
    Duty.GATES: "expire an approval",
    Duty.STOPS: "finish pausing or cancelling the run",
    Duty.STUCK: "continue the run: it waits for nothing, and has not ended",
    Duty.CANCEL: "cancel the run, as a stop demands",
    Duty.DRY_RUNS: "end the dry run",
    Duty.QUEUES: "let a queued run or step proceed",
    Duty.SLA: "record that the run or a step is late",
}

log = logging.getLogger(__name__)


class Quarantine:
    """The failures of earlier sweeps, for one sweep."""

    def __init__(self, *, by: Actor, at: datetime) -> None:
        self.by, self.at = by, at
        self._known = {row.subject: row for row in SweepFailure.objects.all()}
        self.held = [pk for pk, row in self._known.items() if row.retry_at > at]
        """The runs that this sweep skips."""

    def each(
        self, duty: Duty, rows: Iterable[tuple[Any, ...]], act: Callable[..., bool]
    ) -> int:
        """Call `act` for each row, whose first column is the run; count the changes.

        :raises OperationalError: when the server is lost
        """
        done = 0
        failed: dict[UUID, Exception] = {}
        succeeded: set[UUID] = set()
        for subject, *arguments in rows:
            try:
                done += act(subject, *arguments)
            except Conflict as error:
                log.info(
                    "Duty %s of run %s conflicted: %s", duty, subject, error.message
                )
                failed[subject] = error
            except Exception as error:
                log.exception("Duty %s of run %s failed.", duty, subject)
                failed[subject] = error
                database.restore()
            else:
                succeeded.add(subject)
        if recovered := self._known.keys() & succeeded - failed.keys():
            SweepFailure.objects.filter(subject__in=recovered, duty=duty).delete()
        for subject, cause in failed.items():
            self._failed(duty, subject, cause)
        return done

    def forget(self) -> None:
        if self._known:
            old = SweepFailure.objects.filter(retry_at__lt=self.at - FORGET_AFTER)
            old.delete()

    def _failed(self, duty: Duty, subject: UUID, cause: Exception) -> None:
        known = self._known.get(subject)
        count = known.failures + 1 if known else 1
        row, _ = SweepFailure.objects.update_or_create(
            subject=subject,
            defaults={
                "duty": duty,
                "failures": count,
                "retry_at": self.at + _pause(count),
            },
        )
        self._known[subject] = row
        if count >= REPORTED_FAILURES and not row.reported:
            self._report(row, duty, cause)

    def _report(self, row: SweepFailure, duty: Duty, cause: Exception) -> None:
        """Record the failure in the stream of the run, if there is one."""
        payload = {
            "code": "run.sweep_failed",
            "message": _message(duty, row.failures),
            "duty": str(duty),
            "failures": row.failures,
            "cause": cause.code if isinstance(cause, Refusal) else "internal",
        }
        try:
            with transaction.atomic():
                row.reported = True
                row.save(update_fields=["reported"])
                runs = Run.objects.filter(pk=row.subject).values_list("trace_id")
                for (trace_id,) in runs:
                    audit.append(
                        stream_of(row.subject),
                        [Fact("run.sweep_failed", payload)],
                        by=self.by,
                        at=self.at,
                        trace_id=trace_id,
                    )
                    live.run_changed(row.subject)
        except Exception:
            log.exception("Cannot report that run %s cannot be swept.", row.subject)
            database.restore()


def _pause(failures: int) -> timedelta:
    if failures < REPORTED_FAILURES:
        return timedelta()
    # Beyond 2**10 the longest pause applies anyway.
    grown = FIRST_PAUSE_S * 2 ** min(failures - REPORTED_FAILURES, 10)
    return timedelta(seconds=min(grown, LONGEST_PAUSE_S))


def _message(duty: Duty, failures: int) -> str:
    """Return the message for the audit log and for the page of the run."""
    return (
        f"Cannot {DESCRIPTIONS[duty]}: {failures} tries failed. The keeper retries with"
        " increasing delays. See the keeper's log for the cause."
    )
