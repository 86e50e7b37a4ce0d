"""The audit log: search, read, export and verify it."""

from collections.abc import AsyncIterator, Iterator
from uuid import UUID

from asgiref.sync import sync_to_async
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_http_methods, require_safe

from audit import selectors as audit
from audit.domain.chain import Verified
from audit.errors import StreamUnknown
from execfabric.identity.authority import require
from execfabric.infra import database
from execfabric.lib import clock
from execfabric.lib.rights import Right
from execfabric.web.http import HttpRequest, page, wants_fragment
from orchestration.runs import selectors as runs
from orchestration.trace import access, selectors
from orchestration.trace.forms import LogForm, zone_of
from orchestration.trace.services import export, jobs, log, streams

PAGE = 50
LARGEST = 2**63
FORMATS = {
    "csv": (export.as_csv, "text/csv; charset=utf-8"),
    "json": (export.as_json, "application/json"),
}


@require_safe
def trace(request: HttpRequest) -> HttpResponse:
    by, stream = request.user.actor(), request.GET.get("stream", "")
    reads_all = access.require_reader(by, stream)
    form = LogForm(request.GET, reads_all=reads_all)
    with timezone.override(zone_of(request.GET)):
        if not form.is_valid():
            return page(request, "audit/trace.html", {"form": form}, status=422)
        query, before = form.filter(), form.cleaned_data["before"]
        events = list(selectors.search(query, before=before)[: PAGE + 1])
        context = {
            "form": form,
            "query": query,
            "lines": log.lines(events[:PAGE]),
            "older": audit.cursor_of(events[PAGE - 1]) if len(events) > PAGE else None,
            "reads_all": reads_all,
            "most_exported": export.MOST,
            "verified_results": _results(query.stream),
        }
        return page(request, "audit/trace.html", context)


@require_safe
def trace_export(request: HttpRequest, suffix: str) -> HttpResponseBase:
    require(request.user.actor(), Right.TRACE)
    form = LogForm(request.GET, reads_all=True)
    with timezone.override(zone_of(request.GET)):
        if not form.is_valid():
            return page(request, "audit/trace.html", {"form": form}, status=422)
    write, content_type = FORMATS[suffix]
    response = PagedDownload(write(form.filter()), content_type=content_type)
    name = f"audit-log-{clock.now():%Y%m%d-%H%M%S}.{suffix}"
    response["Content-Disposition"] = content_disposition_header(
        as_attachment=True, filename=name
    )
    response["Cache-Control"] = "no-store"
    return response


class PagedDownload(StreamingHttpResponse):
    """A download that is read from the database while it is sent.

    Under ASGI, Django reads a plain `StreamingHttpResponse` into memory and warns.
    """

    async def __aiter__(self) -> AsyncIterator[bytes]:
        pieces: Iterator[bytes] = iter(self)

        def next_piece() -> bytes:
            try:
                return next(pieces, b"")
            finally:
                # A client that reads slowly must not hold the connection.
                database.release()

        while piece := await sync_to_async(next_piece)():
            yield piece


@require_safe
def trace_event(request: HttpRequest, stream: str, seq: int) -> HttpResponse:
    """Show one event; the address never changes."""
    access.require_reader(request.user.actor(), stream)
    events = audit.events_after(stream, seq - 1, limit=2) if seq < LARGEST else []
    if not events or events[0].seq != seq:
        raise StreamUnknown(f"Unknown event {seq} of stream {stream!r}.", stream=stream)
    context = {
        "line": log.lines(events[:1])[0],
        "previous": seq - 1,
        "following": seq + 1,
        "has_next": len(events) > 1,
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


@require_http_methods(["GET", "HEAD", "POST"])
def trace_verify(request: HttpRequest) -> HttpResponse:
    """Start a job, verify one short stream, or list the latest jobs."""
    by = request.user.actor()
    if request.method == "POST":
        stream = request.POST.get("stream", "")
        job = jobs.start(stream=stream, by=by, at=clock.now())
        return redirect("trace_verification", pk=job.pk)
    stream = request.GET.get("stream", "")
    access.require_reader(by, stream)
    if not stream:
        recent = jobs.recent(by=by)
        return page(request, "audit/verifications.html", {"jobs": recent})
    result = streams.verify_now(stream)
    results = [result] if result else []
    context = {"stream": stream, "results": results, "long": not result}
    template = "_verification.html" if wants_fragment(request) else "verify.html"
    return page(request, f"audit/{template}", context)


@require_safe
def run_verified(request: HttpRequest, pk: UUID) -> HttpResponse:
    run = runs.get(request.user.actor(), pk)
    result = streams.verify_now(run.stream)
    context = {"run": run, "verified": result, "long": result is None}
    return page(request, "runs/_verification.html", context)


@require_safe
def trace_verification(request: HttpRequest, pk: UUID) -> HttpResponse:
    job = jobs.get(job_id=pk, by=request.user.actor())
    template = "_job.html" if wants_fragment(request) else "job.html"
    return page(request, f"audit/{template}", {"job": job})
