"""Isolate runs that the keeper cannot sweep: count, report and skip them for a while.

A run that cannot be read then neither stops nor delays the others.
"""

import logging
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from audit import services as audit
from audit.services import Fact
from execfabric.infra import database
from execfabric.lib.actor import Actor
from execfabric.lib.refusal import Conflict, Refusal
from orchestration.runs import live
from orchestration.runs.domain.sweeping import REPORTED_FAILURES, Duty, message, pause
from orchestration.runs.models import Run, SweepFailure, stream_of

FORGET_AFTER = timedelta(minutes=1)
"""A failure is removed if it was due this long ago and did not occur again."""

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
        """Remove failures that did not occur again."""
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
                "retry_at": self.at + pause(count),
            },
        )
        self._known[subject] = row
        if count >= REPORTED_FAILURES and not row.reported:
            self._report(row, duty, cause)

    def _report(self, row: SweepFailure, duty: Duty, cause: Exception) -> None:
        """Record the failure in the stream of the run, if there is one."""
        payload = {
            "code": "run.sweep_failed",
            "message": message(duty, row.failures),
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
