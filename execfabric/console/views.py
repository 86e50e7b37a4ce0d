"""The start page, the style guide, and the answer to what cannot be read."""

from datetime import timedelta
from http import HTTPStatus

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import Http404, HttpResponse
from django.http import HttpRequest as BaseRequest
from django.views import defaults
from django.views.decorators.http import require_safe

from execfabric.console import home as homes
from execfabric.console import looks
from execfabric.console.http import (
    HttpRequest,
    page,
    refusal_response,
    wants_fragment,
)
from execfabric.http import RequestTooLarge
from execfabric.lib import clock

SAMPLE = {
    "month": "2026-09",
    "rows": 1284,
    "to": ["published/", "archive/"],
    "token": {"$secret": "jira-token"},
    "note": "plain text, and a hidden \u202econtrol",
}


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """What concerns whoever is signed in."""
    found = homes.of(request.user.actor(), at=clock.now())
    return page(request, "console/home.html", {"home": found})


@require_safe
def styleguide(request: HttpRequest) -> HttpResponse:
    """Every part that pages are made of; in development only."""
    if settings.PRODUCTION:
        raise Http404
    at = clock.now()
    context = {
        "states": list(looks.STATES),
        "risks": list(looks.RISKS),
        "tones": list(looks.Tone),
        "moments": [at, at - timedelta(minutes=5), at + timedelta(hours=3)],
        "begun": at - timedelta(seconds=75),
        "digest": "9f2c64e1" * 8,
        "sample": SAMPLE,
    }
    return page(request, "console/styleguide.html", context)


def bad_request(request: BaseRequest, exception: Exception) -> HttpResponse:
    """Answer a request that could not be read; one that is too large by its own name."""
    if not isinstance(exception, RequestDataTooBig):
        return defaults.bad_request(request, exception)
    return refusal_response(
        request,
        RequestTooLarge(),
        template="" if wants_fragment(request) else "413.html",
        status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    )


def csrf_failure(request: BaseRequest, reason: str = "") -> HttpResponse:  # noqa: ARG001
    """Answer a form from before a sign-in or from elsewhere; lead back to its page."""
    context = {"back": request.path}
    return page(request, "403_csrf.html", context, status=HTTPStatus.FORBIDDEN)
