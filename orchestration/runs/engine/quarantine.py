"""Runs that the keeper could not sweep: counted, reported, and left alone for a while.

So one run that cannot be read neither stops nor starves the others.
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
from orchestration.runs.domain.sweeping import PATIENCE, Duty, message, pause
from orchestration.runs.models import Run, SweepFailure, stream_of

FORGET_AFTER = timedelta(minutes=1)
"""A run that is due for so long and does not fail any more is fine again."""

log = logging.getLogger(__name__)


class Quarantine:
    """What one sweep knows of the failures before it."""

    def __init__(self, *, by: Actor, at: datetime) -> None:
        self.by, self.at = by, at
        self._known = {row.subject: row for row in SweepFailure.objects.all()}
        self.held = [pk for pk, row in self._known.items() if row.retry_at > at]
        """The runs to leave alone for now."""

    def each(
        self, duty: Duty, rows: Iterable[tuple[Any, ...]], act: Callable[..., bool]
    ) -> int:
        """Call `act` for each row, whose first column is the run; return how many did.

        :raises OperationalError: when the server is lost
        """
        done = 0
        failed: dict[UUID, Exception] = {}
        succeeded: set[UUID] = set()
        for subject, *arguments in rows:
            try:
                done += act(subject, *arguments)
            except Conflict as error:
                log.info("%s of %s lost a race: %s", duty, subject, error.message)
                failed[subject] = error
            except Exception as error:
                log.exception("%s of %s failed", duty, subject)
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
        """Remove failures that have not come again."""
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
        if count >= PATIENCE and not row.reported:
            self._report(row, duty, cause)

    def _report(self, row: SweepFailure, duty: Duty, cause: Exception) -> None:
        """Say so in the run's stream, if it is a run and has one."""
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
                found = Run.objects.filter(pk=row.subject).values_list("trace_id")
                for (trace_id,) in found:
                    audit.append(
                        stream_of(row.subject),
                        [Fact("run.sweep_failed", payload)],
                        by=self.by,
                        at=self.at,
                        trace_id=trace_id,
                    )
                    live.run_changed(row.subject)
        except Exception:
            log.exception("Cannot report that run %s cannot be swept", row.subject)
            database.restore()
