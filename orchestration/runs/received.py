"""Read received events: what arrived, who sent it, and which waits it has ended."""

from dataclasses import dataclass
from uuid import UUID

from django.db.models import Count, Exists, OuterRef, Prefetch, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from execfabric.identity.authority import rights_of
from execfabric.identity.models import Agent
from execfabric.lib.actor import Actor, ActorKind
from execfabric.lib.rights import Right
from orchestration.runs import selectors
from orchestration.runs.errors import EventUnknown
from orchestration.runs.models import EventMatch, ExternalEvent

FIRST = 5
"""Waits that a list shows of each event."""


@dataclass(frozen=True)
class EventFilter:
    """What a list of events is limited to; an empty text is no limit."""

    type: str = ""
    key: str = ""


def visible_to(by: Actor) -> "QuerySet[ExternalEvent]":
    """Return the events that `by` may see, newest first.

    These are all, or those that they or their agents have sent, and those that have
    ended a wait of a run that they may see.
    """
    events = ExternalEvent.objects.order_by("-pk")
    if Right.SEE_ALL in rights_of(by):
        return events
    runs = selectors.visible_to(by).values("pk")
    # Not a join: an event may have ended many waits of one run.
    taken = EventMatch.objects.filter(wait__step_run__run__in=runs).values("event")
    return events.filter(Q(sender__in=_senders(by)) | Q(pk__in=taken))


def filtered(
    events: "QuerySet[ExternalEvent]", given: EventFilter
) -> "QuerySet[ExternalEvent]":
    """Return the events of a type and with a key."""
    wanted = {"type": given.type, "key": given.key}
    return events.filter(**{name: text for name, text in wanted.items() if text})


def with_waits(
    events: "QuerySet[ExternalEvent]", by: Actor
) -> "QuerySet[ExternalEvent]":
    """Load the first waits that each event has ended, as `taken`, and their number.

    Those of runs that `by` may not see are left out; `is_taken` is true for them, too.
    """
    # A list would load all: one event may end ten thousand waits.
    taken = Prefetch("matches", _matches(by)[:FIRST], to_attr="taken")
    return _counted(events, by).prefetch_related(taken)  # type: ignore[no-redef]


def get(
    by: Actor, event_id: UUID, *, after: UUID | None = None, most: int = FIRST
) -> ExternalEvent:
    """Return a visible event with a page of the waits that it has ended.

    :raises EventUnknown: when it does not exist, or `by` may not see it
    """
    event = _counted(visible_to(by).filter(pk=event_id), by).first()
    if event is None:
        raise EventUnknown(event=str(event_id))
    matches = _matches(by).filter(event=event)
    if after:
        matches = matches.filter(pk__gt=after)
    rows = list(matches[: most + 1])
    event.taken = rows[:most]
    event.taken_next = rows[most - 1].pk if len(rows) > most else None
    return event


def _matches(by: Actor) -> "QuerySet[EventMatch]":
    """Return what has ended waits of visible runs, with the names of their steps."""
    runs = selectors.visible_to(by).order_by().values("pk")
    step = "wait__step_run"
    return (
        EventMatch.objects.filter(wait__step_run__run__in=runs)
        .select_related(f"{step}__run__revision__plan")
        .only(
            "event",
            "matched_at",
            *(f"{step}__{name}" for name in ("key", "item", "parent")),
            f"{step}__run__revision__plan__name",
        )
        .order_by("pk")
    )


def _counted(events: "QuerySet[ExternalEvent]", by: Actor) -> "QuerySet[ExternalEvent]":
    ended = EventMatch.objects.filter(event=OuterRef("pk"))
    runs = selectors.visible_to(by).order_by().values("pk")
    seen = ended.filter(wait__step_run__run__in=runs).values("event")
    count = Subquery(seen.annotate(count=Count("pk")).values("count"))
    return events.annotate(is_taken=Exists(ended), taken_count=Coalesce(count, 0))


def _senders(by: Actor) -> list[str]:
    """Return the keys of a user and of their agents."""
    if by.kind is not ActorKind.USER:
        return [by.key]
    agents = Agent.objects.filter(owner_id=int(by.id)).values_list("pk", flat=True)
    return [by.key, *(f"agent:{pk}" for pk in agents)]
