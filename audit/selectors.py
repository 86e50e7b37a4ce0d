"""Reading and verifying the record."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from django.db.models import Q, QuerySet

from audit.domain import chain
from audit.domain.chain import Break, Envelope, Link, Verified
from audit.errors import StreamUnknown
from audit.models import Event, Stream
from execfabric.lib import canonical
from execfabric.lib.actor import ActorKind

__all__ = [
    "Event",
    "Filter",
    "cursor_of",
    "envelope",
    "event_at",
    "events_after",
    "head",
    "search",
    "verify_chain",
    "with_text",
]

LONGEST_SEQ = 18
"""Digits of a `seq`: more do not fit the column."""
_LINK = tuple(field.name for field in fields(Link))


@dataclass(frozen=True)
class Filter:
    """The filters of a search; an empty one does not restrict."""

    stream: str = ""
    kind: str = ""
    """A kind (`gate.decided`), or the first part of kinds (`gate`)."""
    actor: str = ""
    """A part of a name, a key (`user:7`), or a kind of actor (`system:`)."""
    step: str = ""
    trace_id: str = ""
    text: str = ""
    since: datetime | None = None
    until: datetime | None = None


def head(stream: str) -> int:
    """The last `seq` of a stream; 0 for one that has no events yet."""
    found = Stream.objects.filter(key=stream).values_list("last_seq", flat=True).first()
    return found or 0


def events_after(stream: str, seq: int, *, limit: int = 1000) -> list[Event]:
    """The events of a stream behind a cursor, in order."""
    found = Event.objects.filter(stream_id=stream, seq__gt=seq).order_by("seq")
    return list(found[:limit])


def search(query: Filter, *, before: Event | None = None) -> QuerySet[Event]:
    """Events newest first; `before` is the event to continue from.

    The order uses columns that are verified: the place within one stream, the time
    across streams. The row's id has no meaning.
    """
    found = Event.objects.order_by(*_order(query))
    equal = {
        "stream_id": query.stream,
        "kind": query.kind if "." in query.kind else "",
        "step": query.step,
        "trace_id": query.trace_id,
    }
    found = found.filter(**{name: value for name, value in equal.items() if value})
    if query.kind and "." not in query.kind:
        found = found.filter(kind__startswith=f"{query.kind}.")
    if query.trace_id:
        # Every event of a stream has its trace; only the first is indexed by it.
        first = Event.objects.filter(trace_id=query.trace_id, seq=1)
        found = found.filter(stream__in=first.values("stream_id"))
    if query.actor:
        found = found.filter(_by_actor(query.actor))
    if query.since:
        found = found.filter(at__gte=query.since)
    if query.until:
        found = found.filter(at__lte=query.until)
    if query.text:
        found = with_text(found, query.text)
    return found.filter(_after(query, before)) if before is not None else found


def with_text(events: QuerySet[Event], text: str) -> QuerySet[Event]:
    """Return the events whose body contains a text."""
    # As bytes, because a changed body may not be text any more.
    where = ["position(convert_to(%s, 'UTF8') IN body) > 0"]
    return events.extra(where=where, params=[text])  # noqa: S610  a constant


def cursor_of(event: Event) -> str:
    """The cursor with which a client continues after this event."""
    return f"{event.stream_id}:{event.seq}"


def event_at(cursor: str) -> Event | None:
    """The event that a cursor names, if there is one."""
    stream, _, seq = cursor.rpartition(":")
    if not (seq.isascii() and seq.isdigit()) or len(seq) > LONGEST_SEQ:
        return None
    return Event.objects.filter(stream_id=stream, seq=int(seq)).first()


def _by_actor(actor: str) -> Q:
    kind, colon, pk = actor.partition(":")
    if not colon or kind not in set(ActorKind):
        return Q(actor_name__icontains=actor)
    return Q(actor=actor) if pk else Q(actor__startswith=actor)


def _order(query: Filter) -> tuple[str, ...]:
    return ("-seq",) if query.stream else ("-at", "-stream_id", "-seq")


def _after(query: Filter, last: Event) -> Q:
    if query.stream:
        return Q(seq__lt=last.seq)
    same = Q(at=last.at)
    here = same & Q(stream_id=last.stream_id, seq__lt=last.seq)
    return Q(at__lte=last.at) & (
        Q(at__lt=last.at) | (same & Q(stream_id__lt=last.stream_id)) | here
    )


def envelope(event: Event) -> Any:
    """The body of an event as a JSON value."""
    return canonical.loads(bytes(event.body))


def verify_chain(
    key: str,
    *,
    expected: bool = False,
    visit: Callable[[Envelope], None] = lambda _: None,
) -> Verified:
    """Check one stream from its first event to its head.

    `expected` says that the stream must exist, because rows elsewhere need it.

    :raises StreamUnknown: when no such stream exists
    """
    stream = Stream.objects.filter(key=key).first()
    if stream is not None:
        head = bytes(stream.head)
        links = _links(key)
        return chain.verify(
            key, links, last_seq=stream.last_seq, head=head, visit=visit
        )
    if not expected and not Event.objects.filter(stream_id=key).exists():
        raise StreamUnknown(stream=key)
    reason = "the stream is missing from the register of streams"
    return Verified(key, 0, "", Break(key, 1, reason, key))


def _links(key: str) -> Iterator[Link]:
    rows = Event.objects.filter(stream_id=key).order_by("seq")
    for row in rows.values_list(*_LINK, named=True).iterator(chunk_size=2000):
        yield Link(**{name: _plain(getattr(row, name)) for name in _LINK})


def _plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value
