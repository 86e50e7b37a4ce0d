"""The page of stops: what is stopped now, what was, and the forms that change it."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_safe

from execfabric.identity.authority import rights_of
from execfabric.lib import clock
from execfabric.lib.refusal import Refusal
from execfabric.lib.rights import Right
from execfabric.web.http import HttpRequest, form_on, page, refusal_response
from orchestration.runs.control import stops as service
from orchestration.runs.models import Stop
from orchestration.skills.models import Skill

PAST = 50
"""Lifted stops on the page."""


@require_safe
def stops(request: HttpRequest) -> HttpResponse:
    """Show the active stops and the last ones that were lifted."""
    active = Stop.objects.filter(lifted_at__isnull=True).order_by("-pk")
    past = Stop.objects.filter(lifted_at__isnull=False).order_by("-lifted_at")
    rights = rights_of(request.user.actor())
    context = {
        "active": [(stop, service.still_running(stop)) for stop in active],
        "past": past[:PAST],
        "skills": Skill.objects.order_by("slug").values_list("slug", flat=True),
        "may_stop": Right.CONTROL in rights,
        "may_trace": Right.TRACE in rights,
        "longest_reason": service.LONGEST_REASON,
    }
    return page(request, "runs/stops.html", context)


@form_on("stops")
def stop_set(request: HttpRequest) -> HttpResponse:
    """Stop all steps, or those of one skill."""
    sent = request.POST
    try:
        row = service.stop(
            skill=sent.get("skill", ""),
            reason=sent.get("reason", "").strip(),
            cancel=sent.get("cancel") == "yes",
            by=request.user.actor(),
            at=clock.now(),
        )
    except Refusal as refusal:
        return _refused(request, refusal)
    running = service.still_running(row)
    still = f" {running} of them still run{'s' * (running == 1)}." if running else ""
    messages.success(
        request, f"Stopped. Steps that the stop covers do not start any more.{still}"
    )
    return redirect("stops")


@form_on("stops")
def stop_lift(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Lift a stop."""
    reason = request.POST.get("reason", "").strip()
    try:
        service.lift(stop_id=pk, reason=reason, by=request.user.actor(), at=clock.now())
    except Refusal as refusal:
        return _refused(request, refusal)
    messages.success(
        request, "Stop lifted. Steps that no other stop covers start again."
    )
    return redirect("stops")


def _refused(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    return refusal_response(request, refusal, context={"back": reverse("stops")})
