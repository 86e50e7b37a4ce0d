"""The trace: browse the record, and have it checked."""

from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from audit import selectors
from audit.domain.chain import Verified
from audit.errors import StreamUnknown
from audit.selectors import Event
from execfabric.lib.refusal import Invalid
from execfabric.web.http import HttpRequest, page
from orchestration.trace import access
from orchestration.trace.forms import TraceForm
from orchestration.trace.services import streams

PAGE = 50
LARGEST = 2**63


@dataclass(frozen=True)
class Line:
    """One event with the envelope that its row unfolds."""

    event: Event
    envelope: Any
    hash: str


@require_safe
def trace(request: HttpRequest) -> HttpResponse:
    """Events newest first, filtered by the address."""
    form = TraceForm(request.GET)
    form.is_valid()
    query = form.query()
    access.require_reader(request.user.actor(), query.stream)
    before = selectors.event_at(request.GET.get("before", ""))
    found = selectors.search(query, before=before)
    events = list(found[: PAGE + 1])
    context = {
        "form": form,
        "query": query,
        "lines": [_line(event) for event in events[:PAGE]],
        "older": selectors.cursor_of(events[PAGE - 1]) if len(events) > PAGE else None,
        "paged": "before" in request.GET,
        "verified_results": _results(query.stream),
    }
    return page(request, "audit/trace.html", context)


@require_safe
def trace_event(request: HttpRequest, stream: str, seq: int) -> HttpResponse:
    """One event in its place; the address never changes."""
    access.require_reader(request.user.actor(), stream)
    found = selectors.events_after(stream, seq - 1, limit=2) if seq < LARGEST else []
    if not found or found[0].seq != seq:
        raise StreamUnknown(f"The stream {stream} has no event {seq}.", stream=stream)
    context = {
        "line": _line(found[0]),
        "previous": seq - 1,
        "following": seq + 1,
        "has_next": len(found) > 1,
        "verified_results": _results(stream),
    }
    return page(request, "audit/event.html", context)


def _results(stream: str) -> list[Verified]:
    """Verify a stream that is short enough to wait for."""
    try:
        result = streams.verify_now(stream) if stream else None
    except StreamUnknown:
        return []
    return [result] if result else []


def _line(event: Event) -> Line:
    try:
        envelope = selectors.envelope(event)
    except Invalid:
        # A tampered body is what the auditor came to see.
        envelope = bytes(event.body).decode("utf-8", "backslashreplace")
    return Line(event, envelope, bytes(event.hash).hex())
