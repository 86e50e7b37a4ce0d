"""Fire schedules: propose a run in the name of the owner of each, exactly once.

The row of a firing, the step of the schedule to its next time, and the run are written in
one transaction, by compare-and-swap. So a crash, a lost answer of the database, or a
second keeper neither doubles nor loses a firing.
"""

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice, takewhile
from time import monotonic
from typing import Any

from django.db import transaction

from audit.domain.rows import RowFact
from execfabric.infra import database
from execfabric.lib.actor import Actor, system
from execfabric.lib.ids import uuid7
from execfabric.lib.refusal import Later, Refusal
from orchestration.runs.control import proposals
from orchestration.runs.control.proposals import Origin
from orchestration.runs.models import Run
from orchestration.triggers import history, selectors
from orchestration.triggers.domain import cron
from orchestration.triggers.domain.firings import (
    MOST_DUE,
    REASONS,
    CatchUp,
    FiringDecision,
    Outcome,
    Overlap,
    decide,
)
from orchestration.triggers.domain.states import TriggerEvent, TriggerState
from orchestration.triggers.errors import (
    CronInvalid,
    FiringTaken,
    ZoneUnknown,
)
from orchestration.triggers.models import MOST_REFUSALS, Firing, Schedule
from orchestration.triggers.services import common, schedules

BY: Actor = system("keeper")
BATCH = 100
MOST_TRIES = 10
"""Failed tries after which a firing is recorded as refused."""
LONGEST_PAUSE_S = 60
WAIT_S = 5
"""Seconds until a schedule checks again if its last run has finished."""
CLAIM_S = 30
"""Seconds for which a schedule is left to the keeper that claimed it."""
BUDGET_S = 1.0
"""Seconds after which a sweep fires no more schedules."""
PAUSED = f"Paused after {MOST_REFUSALS} refused firings in a row."

log = logging.getLogger(__name__)


def sweep(at: datetime) -> int:
    """Decide the firings that are due; return how many schedules were changed.

    A schedule that fails does not stop the others. After `BUDGET_S` the others wait for
    the next sweep, because the keeper has other duties.
    """
    begun, changed = monotonic(), 0
    for row in selectors.due(at, BATCH):
        changed += _isolated(row, at)
        if monotonic() - begun > BUDGET_S:
            break
    return changed


def claim(row: Schedule, at: datetime) -> bool:
    """Keep other keepers from a schedule for a while; return False if one was faster.

    This only shares the work: each firing is written by compare-and-swap.
    """
    same = Schedule.objects.filter(pk=row.pk, version=row.version)
    unclaimed = same.filter(retry_at=row.retry_at)
    return unclaimed.update(retry_at=at + timedelta(seconds=CLAIM_S)) == 1


def _isolated(row: Schedule, at: datetime) -> bool:
    try:
        return claim(row, at) and _swept(row, at)
    except FiringTaken:
        return False
    except Exception:
        log.exception("Cannot fire schedule %s.", row.pk)
        database.restore()
        return _after_error(row, at)


def _after_error(row: Schedule, at: datetime) -> bool:
    """Count the failed try; if that fails too, try again after the longest pause."""
    try:
        return _tried(row, "internal", "An internal error. See the log.", at=at)
    except FiringTaken:
        return False
    except Exception:
        log.exception("Cannot record that schedule %s failed.", row.pk)
        database.restore()
        _postpone(row, LONGEST_PAUSE_S, row.tries, at=at)
        return False


def _swept(row: Schedule, at: datetime) -> bool:
    if row.next_at is None:
        return False
    if _moved_on(row, row.next_at, at):
        return True
    is_open = selectors.open_run(row) is not None
    overlap = Overlap(row.overlap)
    # Before the times are read: a firing may wait for days.
    if is_open and overlap is Overlap.WAIT:
        _postpone(row, WAIT_S, row.tries, at=at)
        return False
    before = row.next_at - timedelta(microseconds=1)
    found = takewhile(
        lambda time: time <= at, cron.times(row.cron, row.zone, after=before)
    )
    decision = decide(
        list(islice(found, MOST_DUE + 1)),
        at=at,
        catch_up=CatchUp(row.catch_up),
        overlap=overlap,
        is_open=is_open,
        is_retry=row.tries > 0,
    )
    if decision.fires is not None:
        return _fired(row, decision, decision.fires, at)
    with transaction.atomic(durable=True):
        _Step(row, decision, at).write()
    return True


def _moved_on(row: Schedule, due: datetime, at: datetime) -> bool:
    """Move a schedule past a firing that exists already: it can never be written again."""
    last = selectors.last_due(row)
    if last is None or last < due:
        return False
    with transaction.atomic(durable=True):
        _Step(row, FiringDecision(), at, after=last).write()
    return True


def _fired(
    row: Schedule, decision: FiringDecision, due: datetime, at: datetime
) -> bool:
    """Propose the run of a firing, or record why there is none."""
    step = _Step(row, decision, at)
    origin = Origin(row.stream, lambda run: step.proposed(due, run))
    owner = row.owned_by()
    try:
        common.require_active(owner)
        proposals.start(
            slug=row.plan.slug,
            inputs=row.inputs,
            number=row.revision,
            by=owner,
            at=at,
            origin=origin,
        )
    except FiringTaken:
        raise
    except Later as refusal:
        return _tried(row, refusal.code, refusal.message, at=at)
    except Refusal as refusal:
        with transaction.atomic(durable=True):
            step.refused(due, refusal.code, refusal.message)
    return True


def _tried(row: Schedule, code: str, message: str, *, at: datetime) -> bool:
    """Try the firing again later; after too many tries record it as refused."""
    if row.next_at is None:
        return False
    if row.tries + 1 >= MOST_TRIES:
        # The first time that is due: the following ones have their own tries.
        decision = FiringDecision(fires=row.next_at)
        with transaction.atomic(durable=True):
            _Step(row, decision, at).refused(row.next_at, code, message)
        return True
    pause = min(2 ** (row.tries + 1), LONGEST_PAUSE_S)
    _postpone(row, pause, row.tries + 1, at=at)
    return False


def _postpone(row: Schedule, seconds: int, tries: int, *, at: datetime) -> None:
    same = Schedule.objects.filter(pk=row.pk, version=row.version)
    same.update(tries=tries, retry_at=at + timedelta(seconds=seconds))


@dataclass
class _Step:
    """One step of a schedule past the times of a decision, in one transaction."""

    row: Schedule
    decision: FiringDecision
    at: datetime
    after: datetime | None = None
    """The last time that is recorded already, if the step goes past that."""
    firings: list[Firing] = field(default_factory=list)

    def proposed(self, due: datetime, run: Run) -> None:
        """Record the run of a firing, in the transaction that creates it."""
        self._fire(due, Outcome.PROPOSED, run=run)
        self.write()

    def refused(self, due: datetime, code: str, message: str) -> None:
        """Record that no run could be proposed; pause after too many refusals."""
        self._fire(due, Outcome.REFUSED, code=code, message=message)
        self.write(refusals=self.row.refusals + 1)

    def write(self, *, refusals: int | None = None) -> None:
        """Write firings, schedule and events.

        :raises FiringTaken: when the schedule has changed since it was read
        """
        row, last = self.row, self.after or self.decision.last
        if last is None:
            return
        if refusals is None:
            refusals = 0 if self.decision.fires else row.refusals
        current = common.locked(row)
        if current.version != row.version or not current.is_active:
            raise FiringTaken(schedule=str(row.pk))
        skipped = [self._skip(index) for index in range(len(self.decision.skips))]
        moved: RowFact | None = self._move(current, last, refusals)
        for firing in (*skipped, *self.firings):
            self._record(current, firing, moved)
            moved = None
        if moved is not None:
            payload = {"after": last.isoformat()}
            kind = "schedule.moved_on"
            common.record(current, kind, payload, [moved], by=BY, at=self.at)
        if current.state == TriggerState.PAUSED:
            payload = {"reason": PAUSED}
            common.record(current, "schedule.paused", payload, [], by=BY, at=self.at)

    def _move(self, row: Schedule, last: datetime, refusals: int) -> RowFact:
        try:
            following = cron.next_time(row.cron, row.zone, after=last)
        except (CronInvalid, ZoneUnknown) as error:  # no time is left, or known
            pause, following = error.message, last
        else:
            pause = PAUSED if refusals >= MOST_REFUSALS else ""
        values = {"refusals": refusals, "next_at": following}
        if pause:
            return schedules.move(
                row, TriggerEvent.PAUSED, at=self.at, reason=pause, refusals=refusals
            )
        return schedules.write(row, values)

    def _record(self, row: Schedule, firing: Firing, moved: RowFact | None) -> None:
        firing.save(force_insert=True)
        named = {"run_id": str(firing.run_id or "")}
        named |= {"code": firing.code, "message": firing.message}
        payload: dict[str, Any] = {name: text for name, text in named.items() if text}
        payload["due"] = firing.due_at.isoformat()
        if firing.count > 1:
            until = firing.last_due_at.isoformat()
            payload |= {"until": until, "count": firing.count}
        rows = [history.FIRING.born(firing), *([moved] if moved else [])]
        kind = f"schedule.{'fired' if firing.run_id else firing.outcome}"
        common.record(row, kind, payload, rows, by=BY, at=self.at)

    def _fire(self, due: datetime, outcome: Outcome, **values: object) -> None:
        self.firings = [self._firing(due, due, 1, outcome, **values)]

    def _skip(self, index: int) -> Firing:
        part = self.decision.skips[index]
        return self._firing(
            part.first,
            part.last,
            part.count,
            Outcome.SKIPPED,
            code=str(part.reason),
            message=REASONS[part.reason],
        )

    def _firing(
        self,
        first: datetime,
        last: datetime,
        count: int,
        outcome: Outcome,
        **values: object,
    ) -> Firing:
        return Firing(
            id=uuid7(),
            schedule=self.row,
            due_at=first,
            last_due_at=last,
            count=count,
            outcome=str(outcome),
            at=self.at,
            **values,
        )
