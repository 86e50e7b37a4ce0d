"""Find expired leases, lost hints, finished waits and expired gates, and handle them.

Every function finds candidates first and checks them again under the run's lock, so any
number of keepers may sweep at once.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, Now

from approvals import selectors as approvals
from execfabric.infra import database
from execfabric.lib.actor import Actor, system
from orchestration.runs import dispatch, selectors
from orchestration.runs.control import dry_runs, gates, uploads
from orchestration.runs.domain import outcome
from orchestration.runs.domain.states import (
    PROCEEDING,
    STOPPING_RUN,
    Phase,
    RunState,
    StepEvent,
    StepState,
)
from orchestration.runs.engine import events, places, probes, queues, store, waits
from orchestration.runs.engine.advance import advance
from orchestration.runs.engine.locking import locked_change
from orchestration.runs.engine.quarantine import Duty, Quarantine
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.errors import RunStuck
from orchestration.runs.keeper import alerting, late, stopped
from orchestration.runs.models import Attempt, Run, StepRun
from orchestration.runs.pages import watch
from orchestration.runs.worker import give_back

BY: Actor = system("keeper")
BATCH = 200
OTHER_DUTIES: list[Callable[[datetime], int]] = []
"""Duties that other apps register at startup."""
_FINDINGS = watch.FindingLog()
_ALERTS = alerting.AlertDuty()
_MOVING = (
    StepState.BACKOFF,
    StepState.GATED,
    StepState.QUEUED,
    StepState.READY,
    StepState.RUNNING,
    StepState.WAITING,
)
"""The states of steps that something will move: a worker, a user, the keeper."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Swept:
    """The counts of one sweep."""

    leases: int
    matched: int
    events: int
    released: int
    hinted: int
    probes: int
    expired: int
    stopped: int
    confirmed: int
    dry_runs: int
    uploads: int
    late: int
    admitted: int
    stuck: int
    watched: int
    alerts: int
    other: int


def sweep(*, at: datetime, hint_all: bool = False) -> Swept:
    """Do each due task once.

    `hint_all` is True if the broker may have lost all hints, also the latest ones.

    :raises OperationalError: when the database is unreachable
    """
    quarantine = Quarantine(by=BY, at=at)
    # First, so that an attempt that never began does not become an unknown outcome.
    _isolated(give_back.of_dead_workers, at)
    done = Swept(
        leases=_isolated(_expired_leases, quarantine),
        matched=_isolated(_left_events, at),
        events=_isolated(_arrived_events, quarantine),
        released=_isolated(_waits_over, quarantine),
        hinted=_isolated(_lost_hints, quarantine, hint_all=hint_all),
        probes=_isolated(_due_probes, quarantine, hint_all=hint_all),
        expired=_isolated(_expired_gates, quarantine),
        stopped=_isolated(_stopped, quarantine),
        confirmed=_isolated(_unconfirmed, quarantine),
        dry_runs=_isolated(dry_runs.sweep, quarantine, hint_all=hint_all),
        uploads=_isolated(uploads.sweep, at),
        late=_isolated(_late, quarantine),
        admitted=_isolated(_admitted, quarantine),
        stuck=_isolated(_stuck, quarantine),
        watched=_isolated(_watched, at),
        alerts=_isolated(_ALERTS.sweep, at),
        other=sum(_isolated(duty, at) for duty in OTHER_DUTIES),
    )
    quarantine.forget()
    return done


def _isolated(duty: Callable[..., int], argument: Any, **options: Any) -> int:
    """Do one duty; an error in it does not stop the others."""
    try:
        return duty(argument, **options)
    except Exception:
        log.exception("%s.%s failed.", duty.__module__, duty.__name__)
        database.restore()
        return 0


def _in_changes(
    quarantine: Quarantine,
    duty: Duty,
    rows: Iterable[tuple[Any, ...]],
    act: Callable[..., bool],
) -> int:
    """Call `act` in a locked change of each row's run; return how many it changed."""

    def changed(run_id: UUID, *arguments: Any) -> bool:
        with locked_change(run_id, by=BY, at=quarantine.at) as change:
            return act(change, *arguments)

    return quarantine.each(duty, rows, changed)


_EXPIRED = StepRun.objects.filter(state=StepState.RUNNING, lease_until__lt=Now())


def _expired_leases(quarantine: Quarantine) -> int:
    steps = _EXPIRED.exclude(run_id__in=quarantine.held).order_by("lease_until")
    rows = steps.values_list("run_id", "id")[:BATCH]
    return _in_changes(quarantine, Duty.LEASES, rows, _rescued)


def _rescued(change: RunChange, step_run_id: UUID) -> bool:
    """Handle the loss of a step's worker."""
    step = change.step(step_run_id)
    # Checked again under the lock: a heartbeat may have come in between.
    if not _EXPIRED.filter(pk=step_run_id).exists():
        return False
    attempt = Attempt.objects.get(step_run=step, fence=step.fence)
    lost = step.attempts.filter(generation=step.generation, phase=Phase.LOST)
    end = outcome.of_lost_lease(
        Phase(attempt.phase),
        effect_class=step.effect_class,
        run=RunState(change.run.state),
        losses=1 + lost.count(),
        has_fallback=change.plan_step(step).fallback is not None,
    )
    columns = end.columns()
    if not end.counts:
        columns["tries"] = step.tries - 1
    if end.event is StepEvent.OUTCOME_UNKNOWN:
        columns |= probes.planned(change, step)
    may_have_begun = attempt.phase != Phase.CLAIMED
    fact = {"fence": step.fence, "worker": step.worker, "intent": may_have_begun}
    log_digest = selectors.log_digest(step.id, attempt.fence)
    rows = [change.end_attempt(step, end.attempt, log=log_digest)]
    change.move_step(
        step, end.event, fact, session=attempt.session_id, rows=rows, **columns
    )
    advance(change)
    return True


def _waits_over(quarantine: Quarantine) -> int:
    steps = StepRun.objects.filter(
        state__in=[StepState.BACKOFF, StepState.WAITING],
        not_before__lte=quarantine.at,
        run__state__in=PROCEEDING,
    ).exclude(run_id__in=quarantine.held)
    rows = steps.order_by("not_before").values_list("run_id", "id")[:BATCH]
    return _in_changes(quarantine, Duty.WAITS, rows, _released)


def _released(change: RunChange, step_run_id: UUID) -> bool:
    step = change.step(step_run_id)
    if change.run.state == RunState.RUNNING and waits.end_if_due(change, step):
        advance(change)
        return True
    is_due = step.not_before is not None and step.not_before <= change.at
    if step.state != StepState.BACKOFF or not is_due:
        return False
    change.move_step(step, StepEvent.RELEASED)
    return True


def _left_events(at: datetime) -> int:
    """Give events whose step was cancelled first to other waits."""
    return events.match_again(BY, at)


def _arrived_events(quarantine: Quarantine) -> int:
    """Complete steps whose event has arrived, if its sender did not do it."""
    held = quarantine.held
    rows = events.undelivered().exclude(run_id__in=held)[:BATCH]
    return _in_changes(quarantine, Duty.WAITS, rows, _delivered)


def _delivered(change: RunChange, step_run_id: UUID) -> bool:
    is_delivered = events.deliver(change, change.step(step_run_id))
    advance(change)
    return is_delivered


_RUNNING = (
    StepRun.objects.filter(run=OuterRef("run"), state=StepState.RUNNING)
    .order_by()
    .values("run")
    .annotate(count=Count("id"))
    .values("count")
)
_HAS_SLOT = Q(run__parallel_max=0) | Q(
    run__parallel_max__gt=Coalesce(Subquery(_RUNNING), 0)
)
"""True if one more step of the run may start; otherwise the claim would be refused."""


def _lost_hints(quarantine: Quarantine, *, hint_all: bool) -> int:
    """Hint again at ready steps, because the broker may have lost the last hint."""
    at = quarantine.at
    if stopped.all_are_stopped():
        return 0
    ready = StepRun.objects.filter(state=StepState.READY, run__state__in=PROCEEDING)
    if not hint_all:
        before = at - timedelta(seconds=settings.HINT_AGAIN_SECONDS)
        before = stopped.last_lift(before, at) or before
        ready = ready.exclude(hinted_at__gt=before)
    due = ready.exclude(run_id__in=quarantine.held).filter(_HAS_SLOT)
    return _hint_at(due, dispatch.MAX_HINTS if hint_all else BATCH, at)


def _due_probes(quarantine: Quarantine, *, hint_all: bool) -> int:
    """Hint at steps whose target should be asked if they happened."""
    at = quarantine.at
    due = StepRun.objects.filter(probe_at__lte=at).exclude(run_id__in=quarantine.held)
    if not hint_all:
        before = at - timedelta(seconds=settings.HINT_AGAIN_SECONDS)
        due = due.exclude(hinted_at__gt=before)
    return _hint_at(due, BATCH, at)


def _hint_at(steps: "QuerySet[StepRun]", limit: int, at: datetime) -> int:
    """Hint at some steps, the one first that was not hinted at for longest."""
    oldest = steps.order_by(F("hinted_at").asc(nulls_first=True))
    with transaction.atomic():
        # Without the run's lock, so that no deadlock is possible.
        unlocked = oldest.select_for_update(skip_locked=True, of=("self",))
        ids = list(unlocked.values_list("id", flat=True)[:limit])
        store.note_hints(ids, at=at)
    dispatch.send(ids)
    return len(ids)


def _expired_gates(quarantine: Quarantine) -> int:
    at = quarantine.at
    rows = approvals.expired_gates(at=at, skip=quarantine.held, limit=BATCH)

    def expired(run_id: UUID, gate_id: UUID) -> bool:
        return gates.expire(gate_id=gate_id, context_id=run_id, by=BY, at=at)

    return quarantine.each(Duty.GATES, rows, expired)


def _admitted(quarantine: Quarantine) -> int:
    """Let queued runs and steps proceed whose place is free now."""
    rows = places.free(skip=quarantine.held, limit=BATCH)

    def admitted(change: RunChange, step_run_id: UUID | None) -> bool:
        is_admitted = queues.admit(change, step_run_id)
        advance(change)
        return is_admitted

    return _in_changes(quarantine, Duty.QUEUES, rows, admitted)


def _late(quarantine: Quarantine) -> int:
    """Record what has not ended in time."""
    return sum(
        _in_changes(quarantine, Duty.SLA, rows, act)
        for rows, act in late.found(quarantine)
    )


def _stopped(quarantine: Quarantine) -> int:
    """Cancel the running work of stops that say so."""
    rows = stopped.to_cancel(quarantine)
    return _in_changes(quarantine, Duty.CANCEL, rows, stopped.cancelled)


def _unconfirmed(quarantine: Quarantine) -> int:
    """End the pausing, cancelling or aborting of runs without a running step."""
    waiting = Run.objects.filter(state__in=STOPPING_RUN)
    waiting = waiting.exclude(pk__in=quarantine.held)
    idle = waiting.exclude(steps__state=StepState.RUNNING)
    rows = idle.order_by("id").values_list("id")[:BATCH]
    return _in_changes(quarantine, Duty.STOPS, rows, _confirmed)


def _confirmed(change: RunChange) -> bool:
    advance(change)
    return True


def _stuck(quarantine: Quarantine) -> int:
    """Continue runs that wait for nothing; no change leaves a run like that."""
    running = Run.objects.filter(state=RunState.RUNNING).exclude(pk__in=quarantine.held)
    idle = running.exclude(steps__state__in=_MOVING)
    rows = idle.order_by("id").values_list("id")[:BATCH]
    return _in_changes(quarantine, Duty.STUCK, rows, _continued)


def _continued(change: RunChange) -> bool:
    """Advance a run that waits for nothing.

    :raises RunStuck: when nothing is due in it either
    """
    moving = any(step.state in _MOVING for step in change.steps.values())
    if change.run.state != RunState.RUNNING or moving:
        return False
    advance(change)
    if not change.facts:
        raise RunStuck(run=str(change.run.pk))
    return True


def _watched(_: datetime) -> int:
    return _FINDINGS.log()
