"""Let steps wait for events, and give them the events that have arrived.

An event ends every wait for its type and key that is open when it arrives. If there is
none, it is stored for 30 days and ends the first wait that opens. Both sides hold the
same lock, so an event that arrives while a wait opens is never missed.

`EventMatch` decides which event ends a wait. It is written with the event or with the
wait; the step follows in the same transaction or in one of its own, which the keeper
repeats.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef, QuerySet

from audit import services as audit
from audit.services import Fact
from execfabric.infra import database
from execfabric.lib import canonical
from execfabric.lib.actor import Actor
from execfabric.lib.canonical import NotCanonical
from execfabric.lib.clock import elapsed_ms, stamp
from orchestration.plans.domain import references
from orchestration.plans.domain.waits import MAX_EVENT_KEY, event_text
from orchestration.runs import history
from orchestration.runs.domain.states import RunState, StepEvent, StepState
from orchestration.runs.engine import ends, scopes
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.errors import EventKeyInvalid
from orchestration.runs.models import EventMatch, EventWait, ExternalEvent, StepRun

STREAM = "events"
"""The stream of received events, and of what each of them has ended."""
TAKES = (RunState.RUNNING, RunState.PAUSING, RunState.PAUSED)
"""The states of runs whose waiting steps take an event."""
EXPIRED = "wait.expired"
AT_ONCE = 200
"""Waits to which one sweep gives events that other steps have left."""
PAYLOAD_INVALID = "event.payload_invalid"
CHANGED = "event.changed"
DOMAIN = "execfabric/event/v1"
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('events', 0))"
_TOOK = (StepState.WAITING, StepState.SUCCEEDED, StepState.FAILED)
"""The states of steps with an event: a step that has one fails only because of it."""
_MATCHES = EventMatch.objects.filter(event=OuterRef("pk"))
_EFFECTIVE = _MATCHES.filter(
    wait__generation=F("wait__step_run__generation"),
    wait__step_run__state__in=_TOOK,
)
"""The matches of an event, without those of steps that ended without it."""


def begin(change: RunChange, step: StepRun, columns: dict[str, Any]) -> None:
    """Let a step wait for its event, or take one that has arrived before.

    :raises EventKeyInvalid: when the key is not a text or a number
    """
    change.require_lock()
    planned = change.plan_step(step)
    assert planned.event is not None  # noqa: S101 - a wait for an event has one
    type_ = planned.event.type
    scope = scopes.scope_of(change, step, planned)
    key = key_of(references.resolve(planned.event.key, scope))
    seconds = planned.expires_in or settings.GATE_TTL_SECONDS
    ends_at = change.at + timedelta(seconds=seconds)
    lock()
    wait = EventWait.objects.create(
        step_run=step,
        generation=step.generation,
        type=type_,
        key=key,
        opened_at=change.at,
    )
    change.move_step(
        step,
        StepEvent.WAIT_STARTED,
        {"event": {"type": type_, "key": key}, "until": stamp(ends_at), **columns},
        rows=[history.EVENT_WAIT.born(wait)],
        not_before=ends_at,
        started_at=change.at,
        **columns,
    )
    event = _next_stored(type_, key, change.at)
    if event is not None:
        fact = matched(event, [wait], at=change.at)
        audit.append(STREAM, [fact], by=change.by, at=change.at)
        _succeed(change, step, event)


def lock() -> None:
    """Wait for other senders and other waits that open, until the transaction ends.

    One lock for all keys: a change may open several waits, so locks per key could
    deadlock. A run's lock is always taken before it.
    """
    database.row(_LOCK, [])


def open_waits(type_: str, key: str, at: datetime) -> "QuerySet[EventWait]":
    """Return the waits that an event of this type and key ends."""
    return _open_at(at).filter(type=type_, key=key)


def _open_at(at: datetime) -> "QuerySet[EventWait]":
    return EventWait.objects.filter(
        match=None,
        generation=F("step_run__generation"),
        step_run__state=StepState.WAITING,
        step_run__not_before__gt=at,
    ).select_related("step_run")


def matched(event: ExternalEvent, waits: list[EventWait], *, at: datetime) -> Fact:
    """Store that an event ends waits; return the fact for the stream of events."""
    rows = [EventMatch(wait=wait, event=event, matched_at=at) for wait in waits]
    EventMatch.objects.bulk_create(rows)
    steps = [
        {"run": str(wait.step_run.run_id), "step": wait.step_run.key} for wait in waits
    ]
    payload = {"event": str(event.pk), "type": event.type, "key": event.key}
    return Fact(
        "event.matched",
        {**payload, "steps": steps},
        component=f"event:{event.type}",
        rows=tuple(map(history.EVENT_MATCH.born, rows)),
    )


def deliver(change: RunChange, step: StepRun) -> bool:
    """Complete a step with the event that ends its wait; return False without one."""
    match = (
        EventMatch.objects.filter(wait__step_run=step, wait__generation=step.generation)
        .select_related("event")
        .first()
    )
    if (
        match is None
        or step.state != StepState.WAITING
        or change.run.state not in TAKES
    ):
        return False
    _succeed(change, step, match.event)
    return True


def match_again(by: Actor, at: datetime) -> int:
    """Give events whose step ended without them to other open waits; count the waits.

    Such a wait opened while the event still belonged to the other step.
    """
    if not _left_over(at).exists():
        return 0
    with transaction.atomic():
        lock()
        # Each wait looks for an event again, because the one before may have taken it.
        facts = [
            matched(event, [wait], at=at)
            for wait in _left_over(at).order_by("opened_at", "pk")[:AT_ONCE]
            if (event := _next_stored(wait.type, wait.key, at))
        ]
        if facts:
            audit.append(STREAM, facts, by=by, at=at)
    return len(facts)


def _left_over(at: datetime) -> "QuerySet[EventWait]":
    """Return the open waits for which an event is stored."""
    events = ExternalEvent.objects.filter(
        ~Exists(_EFFECTIVE),
        type=OuterRef("type"),
        key=OuterRef("key"),
        expires_at__gt=at,
    )
    return _open_at(at).filter(Exists(events))


def undelivered() -> "QuerySet[Any, tuple[UUID, UUID]]":
    """Return run and step of each open wait whose event has arrived."""
    found = StepRun.objects.filter(
        state=StepState.WAITING,
        run__state__in=TAKES,
        event_waits__generation=F("generation"),
        event_waits__match__isnull=False,
    )
    return found.values_list("run_id", "id")


def expire(change: RunChange, step: StepRun) -> bool:
    """Fail a step whose event did not arrive in time."""
    wait = EventWait.objects.get(step_run=step, generation=step.generation)
    message = f"No {event_text(wait.type, wait.key)} arrived in time."
    fact = {"elapsed_ms": elapsed_ms(wait.opened_at, change.at)}
    ends.fail(change, step, EXPIRED, message, fact, not_before=None)
    return True


def digest_of(**content: Any) -> str:
    """Return the digest of the type, key and payload of an event."""
    return canonical.digest_of(DOMAIN, content)


def key_of(value: Any) -> str:
    """Return a resolved key as text.

    :raises EventKeyInvalid: when it is not a text or a number, or too long
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise EventKeyInvalid
    try:
        # As a reference inside a text writes it: 1200.0 is 1200.
        text = value if isinstance(value, str) else canonical.dumps(value).decode()
    except NotCanonical as error:
        raise EventKeyInvalid from error
    if len(text) > MAX_EVENT_KEY or "\0" in text:
        raise EventKeyInvalid
    return text


def _next_stored(type_: str, key: str, at: datetime) -> ExternalEvent | None:
    """Return the oldest event that has ended no wait yet."""
    stored = ExternalEvent.objects.filter(type=type_, key=key, expires_at__gt=at)
    oldest = stored.order_by("received_at", "pk")
    # Nearly all events are never matched or still effective. The first query is fast,
    # and other waits may be waiting for the lock.
    unmatched = oldest.filter(~Exists(_MATCHES)).first()
    return unmatched or oldest.filter(~Exists(_EFFECTIVE)).first()


def _succeed(change: RunChange, step: StepRun, event: ExternalEvent) -> None:
    fact = {"event": str(event.pk), "sender": event.sender}
    try:
        found = digest_of(type=event.type, key=event.key, payload=event.payload)
        if found != event.request_digest:
            message = f"Event {event.pk} has changed since it was received."
            ends.fail(change, step, CHANGED, message, not_before=None)
            return
        ends.succeed(change, step, event.payload, fact, not_before=None)
    except NotCanonical as refused:
        # An earlier release has stored it; `send` refuses it.
        message = f"Cannot use the payload of event {event.pk}: {refused.message}"
        ends.fail(change, step, PAYLOAD_INVALID, message, not_before=None)


def born(event: ExternalEvent, by: Actor) -> Fact:
    """Return the fact of a received event; its payload is recorded by its digest."""
    return Fact(
        "event.received",
        {
            "event": str(event.pk),
            "type": event.type,
            "key": event.key,
            "digest": event.request_digest,
            "sender": by.as_fact(),
        },
        component=f"event:{event.type}",
        rows=(history.EVENT.born(event),),
    )
