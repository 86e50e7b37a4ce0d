"""Dry runs as rows: who asked, which worker has one, how it ended.

The only writer of a dry run's state. Every move is a compare-and-swap, so hints may be
lost, doubled or late, and any number of keepers may sweep at once.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Now

from execfabric.lib import canonical
from execfabric.lib.actor import Actor, system
from orchestration.plans.domain.document import from_normal_form, normal_form
from orchestration.plans.domain.dryrun import STEP_SECONDS, Report
from orchestration.plans.errors import PlanInvalid
from orchestration.plans.services import check
from orchestration.plans.services.check import Checked
from orchestration.plans.services.preview import Content
from orchestration.runs import dispatch
from orchestration.runs.domain.states import DRY_RUN, DryRunEvent, DryRunState
from orchestration.runs.domain.sweeping import Duty
from orchestration.runs.errors import DryRunPending, TooManyDryRuns
from orchestration.runs.models import DryRun, Run
from orchestration.runs.services.quarantine import Quarantine
from orchestration.runs.services.transitions import change

BY: Actor = system("worker")
KEEPER: Actor = system("keeper")
LEASE = timedelta(seconds=STEP_SECONDS + 10)
"""Longer than any step of a dry run, because it is renewed between steps."""
TRIES = 2
RETRY_AFTER = 10
"""Seconds after which a refused request may find room."""
BATCH = 50
KEEP = timedelta(days=1)
"""How long a dry run without a run is stored after it has ended."""
REPORT_DOMAIN = "execfabric/dry-run/v1"


class ClaimLost(Exception):
    """The dry run is not this worker's any more."""


@dataclass(frozen=True)
class Claim:
    """A worker's hold on one dry run."""

    id: UUID
    run_id: UUID | None
    fence: int
    content: Content


def request(*, text: str, inputs: dict[str, Any], by: Actor, at: datetime) -> DryRun:
    """Queue the dry run of a plan that is not proposed.

    :raises RightMissing: when `by` may not propose
    :raises PlanInvalid: with every problem in `details["problems"]`
    :raises TooManyDryRuns: when too many of theirs have not ended
    """
    checked = check.check(text=text, inputs=inputs, by=by, at=at)
    if not checked.valid:
        raise PlanInvalid(problems=[item.as_json() for item in checked.problems])
    with transaction.atomic():
        return queue(checked, source=text, run=None, by=by, at=at)


def queue(
    checked: Checked, *, run: Run | None, by: Actor, at: datetime, source: str = ""
) -> DryRun:
    """Queue the dry run of a valid plan in the caller's transaction.

    :raises TooManyDryRuns: when too many of theirs have not ended
    """
    if checked.document is None:
        raise PlanInvalid
    _require_room(by)
    queued = DryRun.objects.create(
        run=run,
        actor=by.key,
        actor_owner=f"user:{by.owner_id}" if by.owner_id else "",
        source=source,
        body=canonical.dumps(normal_form(checked.document)),
        digest=checked.digest,
        inputs=dict(checked.inputs),
        pins={key: dict(pin) for key, pin in checked.pins.items()},
        order=list(checked.order),
        steps_total=len(checked.order),
        hinted_at=at,
        created_at=at,
    )
    dispatch.hint_dry_run(queued.id)
    return queued


def require_ended(run: Run) -> None:
    """Refuse while the dry run of a run, whose row is locked, has not ended.

    :raises DryRunPending: when it is queued or running
    """
    if _unfinished().filter(run=run).exists():
        raise DryRunPending


def claim(*, dry_run_id: UUID, worker: str) -> Claim | None:
    """Take a queued dry run; None when it is taken, or this worker has one."""
    if _running().filter(worker=worker).exists():
        return None
    try:
        with transaction.atomic():
            if not _move(
                _queued().filter(pk=dry_run_id),
                DryRunState.QUEUED,
                DryRunEvent.CLAIMED,
                worker=worker,
                lease_until=Now() + LEASE,
                fence=F("fence") + 1,
                tries=F("tries") + 1,
                steps_done=0,
            ):
                return None
    except IntegrityError:
        # Another process of this worker was faster with another dry run.
        return None
    row = DryRun.objects.get(pk=dry_run_id)
    return Claim(row.pk, row.run_id, row.fence, content_of(row))


def content_of(row: DryRun) -> Content:
    """Return what is dry-run, from the stored bytes."""
    document = from_normal_form(canonical.loads(bytes(row.body)))
    return Content(document, row.order, row.inputs, row.pins)


def progress(claim: Claim, steps_done: int) -> None:
    """Store how far it is, and renew the lease.

    :raises ClaimLost: when the lease lapsed and the keeper took it away
    """
    if not _held(claim).update(steps_done=steps_done, lease_until=Now() + LEASE):
        raise ClaimLost


def finish(claim: Claim, report: Report, *, at: datetime) -> bool:
    """Store the report; False when the dry run is not this worker's any more."""
    early = bool(report.limits)
    ending = _Ending(
        DryRunEvent.LIMIT_REACHED if early else DryRunEvent.FINISHED,
        reason=report.reason,
        report=report.as_json(),
        fields={"steps_done": len(report.steps)},
    )
    return _end(_held(claim), claim.run_id, ending, by=BY, at=at)


def fail(claim: Claim, reason: str, *, at: datetime) -> bool:
    """End a dry run that did not work; False when it is not this worker's any more."""
    ending = _Ending(DryRunEvent.FAILED, reason)
    return _end(_held(claim), claim.run_id, ending, by=BY, at=at)


def next_queued() -> UUID | None:
    """Return the dry run that has waited longest, if one is queued."""
    return _queued().order_by("created_at").values_list("pk", flat=True).first()


def sweep(quarantine: Quarantine) -> int:
    """Do what no message reports: lost workers, long waits, lost hints, old rows."""
    done = _lapsed(quarantine) + _waited(quarantine)
    _hint_again(quarantine.at)
    kept_since = quarantine.at - KEEP
    old = DryRun.objects.filter(run__isnull=True, finished_at__lt=kept_since)
    DryRun.objects.filter(pk__in=old.values("pk")[:BATCH]).delete()
    return done


def _lapsed(quarantine: Quarantine) -> int:
    """Give back what a lost worker had; the second time end it."""

    def lapsed(_: UUID, row: DryRun) -> bool:
        still = _running().filter(pk=row.pk, fence=row.fence, lease_until__lt=Now())
        if row.tries < TRIES:
            fields = {"hinted_at": None, "steps_done": 0}
            return _move(still, row.state, DryRunEvent.LEASE_LOST, **fields)
        reason = f"Its worker was lost {TRIES} times."
        return _give_up(still, row, reason, quarantine.at)

    late = _running().filter(lease_until__lt=Now()).order_by("lease_until")
    return _each(quarantine, late, lapsed)


def _waited(quarantine: Quarantine) -> int:
    seconds = settings.DRY_RUN_WAIT_SECONDS
    reason = f"No worker was free within {seconds} seconds."

    def waited(_: UUID, row: DryRun) -> bool:
        return _give_up(_queued().filter(pk=row.pk), row, reason, quarantine.at)

    since = quarantine.at - timedelta(seconds=seconds)
    late = _queued().filter(created_at__lt=since).order_by("created_at")
    return _each(quarantine, late, waited)


def _each(
    quarantine: Quarantine, rows: "QuerySet[DryRun]", act: Callable[..., bool]
) -> int:
    held = quarantine.held
    found = rows.exclude(run_id__in=held).exclude(pk__in=held)[:BATCH]
    subjects = [(row.run_id or row.pk, row) for row in found]
    return quarantine.each(Duty.DRY_RUNS, subjects, act)


def _give_up(rows: "QuerySet[DryRun]", row: DryRun, reason: str, at: datetime) -> bool:
    ending = _Ending(DryRunEvent.GIVEN_UP, reason, source=row.state)
    return _end(rows, row.run_id, ending, by=KEEPER, at=at)


def _hint_again(at: datetime) -> None:
    again = at - timedelta(seconds=settings.HINT_AGAIN_SECONDS)
    lost = _queued().exclude(hinted_at__gt=again).order_by("created_at")
    with transaction.atomic():
        unlocked = lost.select_for_update(skip_locked=True)
        ids = list(unlocked.values_list("id", flat=True)[:BATCH])
        DryRun.objects.filter(pk__in=ids).update(hinted_at=at)
    dispatch.send_dry_runs(ids)


@dataclass(frozen=True)
class _Ending:
    event: DryRunEvent
    reason: str = ""
    report: dict[str, Any] | None = None
    source: str = DryRunState.RUNNING
    fields: dict[str, Any] = field(default_factory=dict)


def _end(
    rows: "QuerySet[DryRun]",
    run_id: UUID | None,
    ending: _Ending,
    *,
    by: Actor,
    at: datetime,
) -> bool:
    """End the one row; for a proposed run's, with an event in the run's record."""
    fields = {
        "reason": ending.reason,
        "report": ending.report,
        "finished_at": at,
        **ending.fields,
    }
    if run_id is None:
        return _move(rows, ending.source, ending.event, **fields)
    with change(run_id, by=by, at=at) as opened:
        moved = _move(rows, ending.source, ending.event, **fields)
        if moved:
            fact = _fact(ending.reason, ending.report)
            opened.record(f"run.dry_run_{ending.event}", fact)
        return moved


def _fact(reason: str, report: dict[str, Any] | None) -> dict[str, Any]:
    """What the run's record says of a dry run that has ended."""
    fact: dict[str, Any] = {"reason": reason} if reason else {}
    if report is not None:
        fact["coverage"] = report["coverage"]
        fact["would_fail"] = [item["step"] for item in report["would_fail"]]
        fact["report"] = canonical.digest_of(REPORT_DOMAIN, report)
    return fact


def _move(
    rows: "QuerySet[DryRun]", source: str, event: DryRunEvent, **fields: Any
) -> bool:
    """Move the one row by the table; False when it is not in `source` any more."""
    target = DRY_RUN.next(DryRunState(source), event)
    if target is not DryRunState.RUNNING:
        fields |= {"lease_until": None, "worker": ""}
    return rows.filter(state=source).update(state=target, **fields) == 1


def _held(claim: Claim) -> "QuerySet[DryRun]":
    return _running().filter(pk=claim.id, fence=claim.fence)


def _queued() -> "QuerySet[DryRun]":
    return DryRun.objects.filter(state=DryRunState.QUEUED)


def _running() -> "QuerySet[DryRun]":
    return DryRun.objects.filter(state=DryRunState.RUNNING)


def _unfinished() -> "QuerySet[DryRun]":
    return DryRun.objects.filter(state__in=[DryRunState.QUEUED, DryRunState.RUNNING])


def _require_room(by: Actor) -> None:
    """Refuse when too many dry runs of one actor have not ended.

    :raises TooManyDryRuns: when so many have not
    """
    with connection.cursor() as cursor:
        # Two requests at once must not both find the last free place.
        cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))",
            [f"dry_run:{by.key}"],
        )
    most = settings.DRY_RUNS_PER_ACTOR
    if _unfinished().filter(actor=by.key).count() >= most:
        message = f"{most} of your dry runs have not ended. Try again when one has."
        raise TooManyDryRuns(message, retry_after=RETRY_AFTER, limit=most)
