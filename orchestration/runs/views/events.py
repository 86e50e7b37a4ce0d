"""The pages of received events: the list, and one event with its payload."""

from uuid import UUID

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from execfabric.identity.authority import rights_of
from execfabric.lib import clock, ids
from execfabric.lib.rights import Right
from execfabric.web.http import HttpRequest, page
from execfabric.web.problems import json_download
from orchestration.runs import received
from orchestration.runs.received import EventFilter

PAGE = 50
WAITS = 100
"""Waits on one page of an event."""


@require_safe
def events(request: HttpRequest) -> HttpResponse:
    """List the visible events, newest first, filtered by the query string."""
    by = request.user.actor()
    texts = {name: request.GET.get(name, "").strip() for name in ("type", "key")}
    given = EventFilter(**texts)
    matching = received.filtered(received.visible_to(by), given)
    if before := ids.parsed(request.GET.get("before", "")):
        matching = matching.filter(pk__lt=before)
    rows = list(received.with_waits(matching.defer("payload"), by)[: PAGE + 1])
    context = {
        "events": rows[:PAGE],
        "filters": given,
        "is_filtered": given != EventFilter(),
        "older": rows[PAGE - 1].pk if len(rows) > PAGE else None,
        "now": clock.now(),
    }
    return page(request, "runs/received.html", context)


@require_safe
def event(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Show an event: its payload, its sender, and a page of the waits it has ended."""
    by = request.user.actor()
    after = ids.parsed(request.GET.get("after", ""))
    context = {
        "event": received.get(by, pk, after=after, most=WAITS),
        "now": clock.now(),
        "may_trace": Right.TRACE in rights_of(by),
    }
    return page(request, "runs/received_event.html", context)


@require_safe
def event_payload(request: HttpRequest, pk: UUID) -> HttpResponse:
    found = received.get(request.user.actor(), pk)
    return json_download(found.payload, f"event-{pk}.json")
