"""Verify a short stream at once, and anything else in a job."""

from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_safe

from execfabric.lib import clock
from execfabric.web.http import HttpRequest, page, wants_fragment
from orchestration.runs import selectors
from orchestration.trace import access
from orchestration.trace.services import jobs, streams


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
    """Show the result of verifying a run, for its page."""
    run = selectors.get(request.user.actor(), pk)
    result = streams.verify_now(run.stream)
    context = {"run": run, "verified": result, "long": result is None}
    return page(request, "runs/_verification.html", context)


@require_safe
def trace_verification(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Show the progress and the findings of a job."""
    job = jobs.get(job_id=pk, by=request.user.actor())
    template = "_job.html" if wants_fragment(request) else "job.html"
    return page(request, f"audit/{template}", {"job": job})
