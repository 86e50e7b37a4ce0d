"""Read, search and verify events."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import fields
from datetime import datetime
from typing import Annotated, Any

from django.db.models import Q, QuerySet
from pydantic import AfterValidator, BaseModel

from audit.domain import chain
from audit.domain.chain import Break, Envelope, Link, Verified
from audit.errors import StreamUnknown
from audit.models import FINDS_TRACE, Event, Stream
from execfabric.lib import canonical, clock
from execfabric.lib.actor import ActorKind

__all__ = ["Event"]  # others may not import it from the models

LONGEST_SEQ = 18
"""The most digits of a `seq` that fit in its column."""
_LINK = tuple(field.name for field in fields(Link))


Moment = Annotated[datetime, AfterValidator(clock.in_utc)]


class Filter(BaseModel, frozen=True):
    """The filters of a search; an empty one does not restrict."""

    stream: str = ""
    kind: str = ""
    """A kind (`gate.decided`), or the first part of kinds (`gate`)."""
    actor: str = ""
    """A part of a name, a key (`user:7`), or a kind of actor (`system:`)."""
    step: str = ""
    trace_id: str = ""
    text: str = ""
    since: Moment | None = None
    until: Moment | None = None


def head(stream: str) -> int:
    """Return the last `seq` of a stream; 0 if it has no events."""
    stored = Stream.objects.filter(key=stream).values_list("last_seq", flat=True)
    return stored.first() or 0


def events_after(stream: str, seq: int, *, limit: int = 1000) -> list[Event]:
    events = Event.objects.filter(stream_id=stream, seq__gt=seq).order_by("seq")
    return list(events[:limit])


def search(query: Filter, *, before: Event | None = None) -> QuerySet[Event]:
    """Return the matching events, newest first; only those older than `before`.

    They are sorted by `seq` within one stream, and by time across streams.
    """
    events = Event.objects.order_by(*_order(query))
    equal = {
        "stream_id": query.stream,
        "kind": query.kind if "." in query.kind else "",
        "step": query.step,
        "trace_id": query.trace_id,
    }
    events = events.filter(**{name: value for name, value in equal.items() if value})
    if query.kind and "." not in query.kind:
        events = events.filter(kind__startswith=f"{query.kind}.")
    if query.trace_id:
        # Only these events are indexed by their trace.
        traced = Event.objects.filter(FINDS_TRACE, trace_id=query.trace_id)
        events = events.filter(stream__in=traced.values("stream_id"))
    if query.actor:
        events = events.filter(_by_actor(query.actor))
    if query.since:
        events = events.filter(at__gte=query.since)
    if query.until:
        events = events.filter(at__lte=query.until)
    if query.text:
        events = with_text(events, query.text)
    return events.filter(_after(query, before)) if before is not None else events


def with_text(events: QuerySet[Event], text: str) -> QuerySet[Event]:
    # As bytes, because a changed body may not be text any more.
    where = ["position(convert_to(%s, 'UTF8') IN body) > 0"]
    return events.extra(where=where, params=[text])  # noqa: S610  a constant


def cursor_of(event: Event) -> str:
    return f"{event.stream_id}:{event.seq}"


def newest_of(stream: str, kind: str, step: str) -> Iterator[Event]:
    """Iterate over the events of a kind about a step, the newest first."""
    events = Event.objects.filter(stream_id=stream, kind=kind, step=step)
    return events.order_by("-seq").iterator(chunk_size=100)


def moments(places: Collection[tuple[str, int]]) -> dict[tuple[str, int], datetime]:
    """Return the times of events by stream and number."""
    rows = Event.objects.filter(pk__in=list(places))
    return {
        (stream, seq): at
        for stream, seq, at in rows.values_list("stream_id", "seq", "at")
    }


def event_at(cursor: str) -> Event | None:
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
    return ("-seq",) if query.stream else ("-at", "-pk")


def _after(query: Filter, last: Event) -> Q:
    if query.stream:
        return Q(seq__lt=last.seq)
    same_time = Q(at=last.at, pk__lt=(last.stream_id, last.seq))
    return Q(at__lte=last.at) & (Q(at__lt=last.at) | same_time)


def envelope(event: Event) -> Any:
    return canonical.loads(bytes(event.body))


def verify_chain(
    key: str,
    *,
    expected: bool = False,
    visit: Callable[[Envelope], None] = lambda _: None,
) -> Verified:
    """Verify one stream from its first event to its head.

    `expected` means that other rows need the stream, so its absence is a finding.

    :raises StreamUnknown: if the stream does not exist and is not expected
    """
    stream = Stream.objects.filter(key=key).first()
    if stream is not None:
        head, links = bytes(stream.head), _links(key)
        last = stream.last_seq
        return chain.verify(key, links, last_seq=last, head=head, visit=visit)
    if not expected and not Event.objects.filter(stream_id=key).exists():
        raise StreamUnknown(stream=key)
    reason = "the row of the stream is missing"
    return Verified(key, 0, "", Break(key, 1, reason, key))


def _links(key: str) -> Iterator[Link]:
    rows = Event.objects.filter(stream_id=key).order_by("seq")
    for row in rows.values_list(*_LINK).iterator(chunk_size=2000):
        yield Link(*row)
