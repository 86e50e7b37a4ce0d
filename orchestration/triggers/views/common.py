"""What the pages of schedules and webhooks share."""

from typing import Any

from django.http import HttpResponse

from execfabric.web.http import HttpRequest, page
from orchestration.plans import selectors as plans
from orchestration.plans.domain.rights import PlanRight

LISTED = 200
"""Schedules or webhooks in a list."""
DONE = {"pause": "paused", "resume": "resumed", "delete": "deleted"}
PLANS = 200
REVISIONS = 50


def slug_of(request: HttpRequest) -> str:
    """Return the plan that a form is about; empty until one is chosen."""
    sent = request.POST if request.method == "POST" else request.GET
    return sent.get("plan", "")


def choose_plan(request: HttpRequest, **context: Any) -> HttpResponse:
    """List the plans that the user may start."""
    startable = plans.permitted(request.user.actor(), PlanRight.START)
    context["plans"] = plans.search(startable, "")[:PLANS]
    return page(request, "triggers/choose.html", context)
