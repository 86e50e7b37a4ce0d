"""The queue of everything that needs a person."""

from http import HTTPStatus
from typing import Any

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_safe

from execfabric.lib import clock, numbers
from execfabric.lib.refusal import Missing, Refusal
from execfabric.web.http import (
    HttpRequest,
    form_on,
    page,
    refusal_response,
    wants_fragment,
)
from orchestration.runs.control import attention as queue
from orchestration.runs.control import reemission
from orchestration.runs.pages import attention, failure_records, run_waits
from orchestration.runs.pages.attention import SHOWN

RECORDS = 50
"""Failure records on a page."""
ON_HOME = 8
"""Items on the home page."""


@require_safe
def attention_queue(request: HttpRequest) -> HttpResponse:
    """Show the queue; it polls for changes with `?seen=`."""
    shown = attention.view(
        request.user.actor(),
        at=clock.now(),
        kind=request.GET.get("kind", ""),
        mine="mine" in request.GET,
    )
    context = {"shown": shown, "lines": shown.lines[:SHOWN]}
    if not wants_fragment(request):
        return page(request, "runs/attention.html", context)
    if request.GET.get("part") == "home":
        context["lines"] = shown.lines[:ON_HOME]
        return page(request, "runs/_attention_home.html", context)
    if request.GET.get("seen") == shown.stamp:
        return HttpResponse(status=HTTPStatus.NO_CONTENT)
    return page(request, "runs/_attention.html", context)


@require_safe
def attention_count(request: HttpRequest) -> HttpResponse:
    """Return the count next to the entry in the navigation."""
    items = queue.queue(request.user.actor(), at=clock.now())
    return page(request, "runs/_attention_count.html", {"count": len(items)})


@form_on("attention")
def attention_act(request: HttpRequest, claim: str) -> HttpResponse:
    """Take an item, or release it."""
    do = queue.take if claim == "take" else queue.release
    key = request.POST.get("key", "")
    try:
        item = do(key=key, by=request.user.actor(), at=clock.now())
    except Refusal as refusal:
        return refusal_response(request, refusal, context={"back": "/attention"})
    verb = "You take care of" if item.owner else "Released"
    messages.success(request, f"{verb}: {item.text}")
    return redirect("attention")


@require_safe
def failures(request: HttpRequest) -> HttpResponse:
    """List the failed attempts, the newest first."""
    after = numbers.whole(request.GET.get("after", ""))
    records, following = failure_records.page(
        request.user.actor(), after=after, limit=RECORDS
    )
    context = {"records": records, "following": following}
    return page(request, "runs/failures.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def failure_re_emit(request: HttpRequest, number: int) -> HttpResponse:
    """Show how the work of a failure record is re-emitted; a POST does it."""
    by = request.user.actor()
    attempt = reemission.failure(by, number)
    reason = request.POST.get("reason", "")
    record = failure_records.FailureRecord(attempt)
    context: dict[str, Any] = {"record": record, "reason": reason, "first": None}
    try:
        if request.method == "POST":
            run = reemission.re_emit(
                failure_id=number, reason=reason, by=by, at=clock.now()
            )
            messages.success(request, f"Work re-emitted. {run_waits.said_of(run)}")
            return redirect("run", pk=run.pk)
        context["first"] = reemission.rerun_from(attempt)
    except Missing:
        raise
    except Refusal as refusal:
        context["refusal"] = refusal
        if request.method == "POST":
            context["first"] = request.POST.get("first", "")
    return page(request, "runs/re_emit.html", context)
