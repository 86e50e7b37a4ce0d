"""Receive events from outside, and give them to the steps that wait for them."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from audit import services as audit
from execfabric.identity.authority import require
from execfabric.infra import database, disk
from execfabric.lib import canonical
from execfabric.lib.actor import Actor
from execfabric.lib.canonical import NotCanonical
from execfabric.lib.rights import Right
from execfabric.lib.text import is_storable
from orchestration.plans.domain import references
from orchestration.plans.domain.waits import EVENT_TYPE, MAX_EVENT_KEY
from orchestration.runs.control.proposals import LONGEST_KEY
from orchestration.runs.engine import events
from orchestration.runs.engine.advance import advance
from orchestration.runs.engine.locking import locked_change
from orchestration.runs.errors import (
    EventInvalid,
    EventTooLarge,
    KeyReused,
    KeyTooLong,
)
from orchestration.runs.models import ExternalEvent

KEEP = timedelta(days=30)
"""The time for which an event can end a wait that begins later."""
MAX_PAYLOAD = 64 << 10
"""Bytes of the payload as canonical JSON."""
MAX_DEPTH = 50
AT_ONCE = 20
"""Steps that the sender completes; the keeper does the others."""
RESERVED = frozenset({"$file", "$secret"})
"""Keys that only the engine writes: a later step would read a file or a secret."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SentEvent:
    """An event, and how many waits it has ended so far."""

    event: ExternalEvent
    waits: int


def send(
    *,
    type: str,  # noqa: A002 - the word of plans, API and command line
    key: str,
    payload: Any,
    by: Actor,
    at: datetime,
    event_id: str = "",
) -> SentEvent:
    """Store an event, and end the waits for it.

    With the same `event_id` and content, the same sender gets the first event again.

    :raises RightMissing: when `by` may not propose
    :raises EventInvalid: when type, key or payload cannot be stored
    :raises EventTooLarge: when the payload is too large
    :raises KeyTooLong: when the id is too long
    :raises KeyReused: when the sender used the id for another event
    """
    require(by, Right.PROPOSE)
    disk.require_space()
    if len(event_id) > LONGEST_KEY:
        raise KeyTooLong
    content = {"type": type, "key": key, "payload": _checked(type, key, payload)}
    digest = events.digest_of(**content)
    if first := _repeated(event_id, digest, by):
        return _sent(first)
    event = ExternalEvent(
        **content,
        sender=by.key,
        sender_name=by.name,
        idempotency_key=event_id,
        request_digest=digest,
        received_at=at,
        expires_at=at + KEEP,
    )
    try:
        with transaction.atomic(durable=True):
            steps = _stored(event, by=by, at=at)
    except IntegrityError:
        # The same event was sent twice at once, and the other one was first.
        if first := _repeated(event_id, digest, by):
            return _sent(first)
        raise
    for run_id, step_run_id in steps[:AT_ONCE]:
        _deliver(run_id, step_run_id, by=by, at=at)
    return _sent(event)


def _stored(
    event: ExternalEvent, *, by: Actor, at: datetime
) -> list[tuple[UUID, UUID]]:
    """Store an event and the waits that it ends; return their runs and steps."""
    events.lock()
    ExternalEvent.objects.bulk_create([event])
    waits = list(events.open_waits(event.type, event.key, at))
    facts = [events.born(event, by)]
    if waits:
        facts.append(events.matched(event, waits, at=at))
    audit.append(events.STREAM, facts, by=by, at=at)
    return [(wait.step_run.run_id, wait.step_run_id) for wait in waits]


def _deliver(run_id: UUID, step_run_id: UUID, *, by: Actor, at: datetime) -> None:
    """Complete one step; after an error the keeper does it."""
    try:
        with locked_change(run_id, by=by, at=at) as change:
            events.deliver(change, change.step(step_run_id))
            advance(change)
    except Exception:
        log.exception("Cannot give an event to run %s yet.", run_id)
        database.restore()


def _repeated(event_id: str, digest: str, by: Actor) -> ExternalEvent | None:
    """Return the event that `by` sent with this id, if any.

    :raises KeyReused: when it was another event
    """
    if not event_id:
        return None
    sent = ExternalEvent.objects.filter(sender=by.key, idempotency_key=event_id)
    first = sent.first()
    if first and first.request_digest != digest:
        raise KeyReused
    return first


def _sent(event: ExternalEvent) -> SentEvent:
    return SentEvent(event, event.matches.count())


def _checked(type_: str, key: str, payload: Any) -> dict[str, Any]:
    """Return the payload if the event can be stored.

    :raises EventInvalid: when type, key or payload cannot be stored
    :raises EventTooLarge: when the payload is too large
    """
    if not re.fullmatch(EVENT_TYPE, type_):
        raise EventInvalid(
            f"Invalid event type {type_[:100]!r}. Use letters, digits, dots, - and _, at"
            " most 100."
        )
    if len(key) > MAX_EVENT_KEY or not is_storable(key):
        raise EventInvalid(f"Invalid event key (max {MAX_EVENT_KEY} characters).")
    if not isinstance(payload, Mapping):
        raise EventInvalid("Invalid payload: it must be a JSON object.")
    try:
        canonical.check_depth(payload, MAX_DEPTH)
        canonical.check_numbers(dict(payload))
        size = len(canonical.dumps(dict(payload)))
    except NotCanonical as error:
        raise EventInvalid(f"Cannot store the payload: {error}") from error
    if size > MAX_PAYLOAD:
        raise EventTooLarge(
            f"The payload is too large: {size:,} bytes (max {MAX_PAYLOAD:,})."
        )
    inside = [value for _, value in references.walk(payload)]
    keys = {key for value in inside if isinstance(value, Mapping) for key in value}
    if reserved := RESERVED & keys:
        raise EventInvalid(f"The payload cannot have the key {min(reserved)!r}.")
    texts = {value for value in inside if isinstance(value, str)}
    if not all(map(is_storable, keys | texts)):
        raise EventInvalid("Cannot store the payload: a text has a NUL character.")
    return dict(payload)
