"""The page that previews the rollback of a run, and begins it."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods

from execfabric.lib import clock
from execfabric.lib.refusal import Missing, Refusal
from execfabric.web.http import HttpRequest, page
from orchestration.runs import selectors
from orchestration.runs.control import rollback
from orchestration.runs.pages import rollback_report, run_waits

REASON = 500


@require_http_methods(["GET", "HEAD", "POST"])
def run_rollback(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Show what would be undone, in order; a POST confirms exactly that."""
    by, at = request.user.actor(), clock.now()
    given = request.POST if request.method == "POST" else request.GET
    to = given.get("to", "").strip()
    run = selectors.get(by, pk, needs=())
    context = {
        "run": run,
        "to": to,
        "may_begin": rollback.may_begin(run, by),
        "targets": rollback_report.targets_of(run),
    }
    try:
        if request.method == "POST":
            reason = request.POST.get("reason", "").strip()[:REASON]
            digest = request.POST.get("digest", "")
            changed = rollback.roll_back(
                run_id=pk, by=by, at=at, reason=reason, digest=digest, to=to
            )
            messages.success(request, run_waits.said_of(changed))
            return redirect("run", pk=pk)
    except Missing:
        raise
    except Refusal as refusal:
        context["refusal"] = refusal
    try:
        context["rollback"] = rollback.preview(run_id=pk, by=by, at=at, to=to)
    except Refusal as refusal:
        context.setdefault("refusal", refusal)
    return page(request, "runs/rollback.html", context)
