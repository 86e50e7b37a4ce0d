"""The trace: browse the record, and have it checked."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse
from django.views.decorators.http import require_safe

from audit import selectors
from audit.domain.chain import Verified
from audit.errors import StreamUnknown
from audit.forms import TraceForm
from audit.models import Event
from execfabric.accounts.authority import Right, rights_of
from execfabric.accounts.errors import RightMissing
from execfabric.console.http import HttpRequest, page
from execfabric.lib.actor import Actor
from execfabric.lib.refusal import Invalid

PAGE = 50
LARGEST = 2**63

Verify = Callable[[str], Verified | None]
"""The verification of a stream that is short enough to wait for, else None."""
Reads = Callable[[Actor, str], bool]
"""Whether somebody may read a stream although they may not browse the record."""


@dataclass(frozen=True)
class Line:
    """One event with the envelope that its row unfolds."""

    event: Event
    envelope: Any
    hash: str


def nobody(by: Actor, stream: str) -> bool:
    """The answer where the project names nobody who may."""
    del by, stream
    return False


def unverified(stream: str) -> None:
    """The answer where the project names no verification."""
    del stream


@require_safe
def trace(
    request: HttpRequest, verify: Verify = unverified, reads: Reads = nobody
) -> HttpResponse:
    """Events newest first, filtered by the address."""
    form = TraceForm(request.GET)
    form.is_valid()
    query = form.query()
    require_reader(request.user.actor(), query.stream, reads)
    before = selectors.event_at(request.GET.get("before", ""))
    found = selectors.search(query, before=before)
    events = list(found[: PAGE + 1])
    context = {
        "form": form,
        "query": query,
        "lines": [_line(event) for event in events[:PAGE]],
        "older": selectors.cursor_of(events[PAGE - 1]) if len(events) > PAGE else None,
        "paged": "before" in request.GET,
        "verified_results": _results(verify(query.stream) if query.stream else None),
    }
    return page(request, "audit/trace.html", context)


@require_safe
def trace_event(
    request: HttpRequest,
    stream: str,
    seq: int,
    verify: Verify = unverified,
    reads: Reads = nobody,
) -> HttpResponse:
    """One event in its place; the address never changes."""
    require_reader(request.user.actor(), stream, reads)
    found = selectors.events_after(stream, seq - 1, limit=2) if seq < LARGEST else []
    if not found or found[0].seq != seq:
        raise StreamUnknown(f"The stream {stream} has no event {seq}.", stream=stream)
    context = {
        "line": _line(found[0]),
        "previous": seq - 1,
        "following": seq + 1,
        "has_next": len(found) > 1,
        "verified_results": _results(verify(stream)),
    }
    return page(request, "audit/event.html", context)


def require_reader(by: Actor, stream: str, reads: Reads) -> None:
    """Check that `by` may read a stream; the whole record, for an empty one.

    :raises RightMissing: when they may not
    """
    if "\0" in stream:
        raise Invalid("A stream's name has no such characters.")
    if Right.TRACE in rights_of(by) or (stream and reads(by, stream)):
        return
    raise RightMissing(
        "Your role does not browse the whole record. The record of a run that you may"
        " see is linked from its page.",
        right=str(Right.TRACE),
    )


def _results(found: Verified | None) -> list[Verified]:
    return [found] if found else []


def _line(event: Event) -> Line:
    try:
        envelope = selectors.envelope(event)
    except Invalid:
        # A tampered body is what the auditor came to see.
        envelope = bytes(event.body).decode("utf-8", "backslashreplace")
    return Line(event, envelope, bytes(event.hash).hex())
