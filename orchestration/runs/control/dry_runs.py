"""Queue, claim and end dry runs: the only writer of their state.

Every move is a compare-and-swap, so hints may be lost, duplicate or late, and any number
of keepers may sweep at once.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now

from execfabric.infra import database
from execfabric.lib import canonical
from execfabric.lib.actor import Actor, system
from orchestration.plans import selectors as plans
from orchestration.plans.domain.document import from_normal_form, normal_form
from orchestration.plans.domain.dryrun import STEP_SECONDS, Report
from orchestration.plans.services import check
from orchestration.plans.services.check import CheckedPlan
from orchestration.plans.services.preview import Content
from orchestration.runs import dispatch
from orchestration.runs.control import uploads
from orchestration.runs.domain.states import DRY_RUN, DryRunEvent, DryRunState
from orchestration.runs.engine.locking import locked_change
from orchestration.runs.engine.quarantine import Duty, Quarantine
from orchestration.runs.errors import DryRunPending, TooManyDryRuns
from orchestration.runs.models import DryRun, Run

BY: Actor = system("worker")
KEEPER: Actor = system("keeper")
LEASE = timedelta(seconds=STEP_SECONDS + 10)
"""Longer than any step of a dry run, because it is renewed between steps."""
TRIES = 2
RETRY_AFTER = 10
"""Seconds after which a refused request may be repeated."""
BATCH = 50
KEEP = timedelta(days=1)
"""The time for which a finished dry run without a run is stored."""
REPORT_DOMAIN = "execfabric/dry-run/v1"
QUEUED = DryRun.objects.filter(state=DryRunState.QUEUED)
RUNNING = DryRun.objects.filter(state=DryRunState.RUNNING)
UNFINISHED = DryRun.objects.filter(state__in=[DryRunState.QUEUED, DryRunState.RUNNING])
ALWAYS = Q()
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"


class ClaimLost(Exception):
    """The claim was lost; another worker may have the dry run."""


def request(*, text: str, inputs: dict[str, Any], by: Actor, at: datetime) -> DryRun:
    """Queue the dry run of a plan without proposing it.

    :raises RightMissing: when `by` may not propose
    :raises PlanInvalid: with every problem in `details["problems"]`
    :raises TooManyDryRuns: when too many of theirs are unfinished
    """
    files = uploads.finder(by, at)
    checked = check.check(text=text, inputs=inputs, by=by, files=files, at=at)
    with transaction.atomic():
        uploads.prolong(checked.inputs, by=by, at=at)
        return queue(checked, source=text, run=None, by=by, at=at)


def queue(
    checked: CheckedPlan, *, run: Run | None, by: Actor, at: datetime, source: str = ""
) -> DryRun:
    """Queue the dry run of a plan in the caller's transaction.

    :raises PlanInvalid: with every problem in `details["problems"]`
    :raises TooManyDryRuns: when too many of theirs are unfinished
    """
    document = checked.require_valid()
    _require_room(by)
    order = checked.all_paths
    queued = DryRun.objects.create(
        run=run,
        actor=by.key,
        actor_owner=by.owner_key,
        source=source,
        body=canonical.dumps(normal_form(document)),
        digest=checked.digest,
        inputs=dict(checked.inputs),
        pins={key: dict(pin) for key, pin in checked.pins.items()},
        order=order,
        steps_total=len(order),
        hinted_at=at,
        created_at=at,
    )
    dispatch.hint_dry_run(queued.id)
    return queued


def require_ended(run: Run) -> None:
    """Check that the dry run of a locked run has finished.

    :raises DryRunPending: when it is queued or running
    """
    if UNFINISHED.filter(run=run).exists():
        raise DryRunPending


def claim(*, dry_run_id: UUID, worker: str) -> DryRun | None:
    """Claim a queued dry run; return None if it is not queued or this worker has one."""
    row = QUEUED.filter(pk=dry_run_id).first()
    if row is None or RUNNING.filter(worker=worker).exists():
        return None
    try:
        with transaction.atomic():
            is_claimed = _move(
                row,
                DryRunEvent.CLAIMED,
                worker=worker,
                lease_until=Now() + LEASE,
                fence=row.fence + 1,
                tries=row.tries + 1,
                steps_done=0,
            )
    except IntegrityError:
        # Another process of this worker claimed another dry run at the same time.
        return None
    if is_claimed:
        row.refresh_from_db()
    return row if is_claimed else None


def content_of(row: DryRun) -> Content:
    document = from_normal_form(canonical.loads(bytes(row.body)))
    included = plans.included_documents(row.pins)
    return Content(document, row.order, row.inputs, row.pins, included)


def progress(held: DryRun, steps_done: int) -> None:
    """Store the progress, and renew the lease.

    :raises ClaimLost: when the lease expired and the keeper took it away
    """
    if not _as_read(held).update(steps_done=steps_done, lease_until=Now() + LEASE):
        raise ClaimLost


def finish(held: DryRun, report: Report, *, at: datetime) -> bool:
    """Store the report; return False if the claim was lost."""
    event = DryRunEvent.LIMIT_REACHED if report.limits else DryRunEvent.FINISHED
    return _end(held, event, report.reason, by=BY, at=at, report=report)


def fail(held: DryRun, reason: str, *, at: datetime) -> bool:
    """End a dry run that failed; return False if the claim was lost."""
    return _end(held, DryRunEvent.FAILED, reason, by=BY, at=at)


def next_queued() -> UUID | None:
    return QUEUED.order_by("created_at").values_list("pk", flat=True).first()


def sweep(quarantine: Quarantine, *, hint_all: bool = False) -> int:
    """Handle lost workers, long waits, lost hints and old rows."""
    done = _overdue(quarantine)
    _hint_again(quarantine.at, hint_all=hint_all)
    before = quarantine.at - KEEP
    old = DryRun.objects.filter(run__isnull=True, finished_at__lt=before)
    DryRun.objects.filter(pk__in=old.values("pk")[:BATCH]).delete()
    return done


def _overdue(quarantine: Quarantine) -> int:
    """Requeue or end dry runs of lost workers; end those queued too long."""
    seconds = settings.DRY_RUN_WAIT_SECONDS
    since = quarantine.at - timedelta(seconds=seconds)
    # Checked again in the update: the worker may have renewed its lease.
    is_due = Q(lease_until__lt=Now()) | Q(
        state=DryRunState.QUEUED, created_at__lt=since
    )

    def settled(_: UUID, row: DryRun) -> bool:
        is_lost = row.state == DryRunState.RUNNING
        if is_lost and row.tries < TRIES:
            fields = {"hinted_at": None, "steps_done": 0}
            return _move(row, DryRunEvent.LEASE_LOST, is_due, **fields)
        reason = f"No worker was free within {seconds} seconds. Nothing was changed."
        if is_lost:
            reason = f"The worker was lost {TRIES} times. Nothing was changed."
        event, at = DryRunEvent.GIVEN_UP, quarantine.at
        return _end(row, event, reason, by=KEEPER, at=at, only=is_due)

    held = quarantine.held
    due = UNFINISHED.filter(is_due).exclude(run_id__in=held).exclude(pk__in=held)
    rows = [(row.run_id or row.pk, row) for row in due.order_by("created_at")[:BATCH]]
    return quarantine.each(Duty.DRY_RUNS, rows, settled)


def _hint_again(at: datetime, *, hint_all: bool) -> None:
    lost = QUEUED
    if not hint_all:
        again = at - timedelta(seconds=settings.HINT_AGAIN_SECONDS)
        lost = lost.exclude(hinted_at__gt=again)
    with transaction.atomic():
        unlocked = lost.order_by("created_at").select_for_update(skip_locked=True)
        ids = list(unlocked.values_list("id", flat=True)[:BATCH])
        DryRun.objects.filter(pk__in=ids).update(hinted_at=at)
    dispatch.send_dry_runs(ids)


def _end(
    row: DryRun,
    event: DryRunEvent,
    reason: str,
    *,
    by: Actor,
    at: datetime,
    report: Report | None = None,
    only: Q = ALWAYS,
) -> bool:
    """End a dry run; for a proposed run, record it in the run's stream."""
    fields: dict[str, Any] = {"reason": reason, "finished_at": at}
    if report is not None:
        fields |= {"report": report.as_json(), "steps_done": len(report.steps)}
    if row.run_id is None:
        return _move(row, event, only, **fields)
    with locked_change(row.run_id, by=by, at=at) as change:
        moved = _move(row, event, only, **fields)
        if moved:
            change.record(f"run.dry_run_{event}", _fact(reason, report))
        return moved


def _fact(reason: str, report: Report | None) -> dict[str, Any]:
    """Return the event payload of a finished dry run."""
    fact: dict[str, Any] = {"reason": reason} if reason else {}
    if report is not None:
        fact["coverage"] = report.coverage
        fact["would_fail"] = [item["step"] for item in report.would_fail]
        fact["report"] = canonical.digest_of(REPORT_DOMAIN, report.as_json())
    return fact


def _move(row: DryRun, event: DryRunEvent, only: Q = ALWAYS, **fields: Any) -> bool:
    """Move a dry run by the state table; return False if it has changed since."""
    target = DRY_RUN.next(DryRunState(row.state), event)
    if target is not DryRunState.RUNNING:
        fields |= {"lease_until": None, "worker": ""}
    return _as_read(row).filter(only).update(state=target, **fields) == 1


def _as_read(row: DryRun) -> "QuerySet[DryRun]":
    return DryRun.objects.filter(pk=row.pk, fence=row.fence, state=row.state)


def _require_room(by: Actor) -> None:
    # Two requests at once must not both take the last free place.
    database.row(_LOCK, [f"dry_run:{by.key}"])
    limit = settings.DRY_RUNS_PER_ACTOR
    if UNFINISHED.filter(actor=by.key).count() >= limit:
        message = (
            f"Cannot start the dry run: {limit} of yours are unfinished (max {limit})."
            " Try again when one has finished."
        )
        raise TooManyDryRuns(message, retry_after=RETRY_AFTER, limit=limit)
