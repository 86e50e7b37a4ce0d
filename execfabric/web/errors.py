"""Error responses outside of views, as a page, a fragment or a problem."""

import sys
from http import HTTPStatus

from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.views import defaults

from execfabric.lib.refusal import Refusal, RefusalKind
from execfabric.web.http import page, refusal_response, wants_fragment
from execfabric.web.problems import (
    API,
    RequestTooLarge,
    Unexpected,
    database_failure,
    problem,
)

TEMPLATES = {
    RefusalKind.UNREADABLE: "400.html",
    RefusalKind.TOO_LARGE: "413.html",
    RefusalKind.UNAVAILABLE: "503.html",
}


def refused(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    """Respond to a refusal; the user may not be known yet."""
    if request.path.startswith(API):
        return problem(refusal)
    template = "" if wants_fragment(request) else TEMPLATES.get(refusal.kind, "")
    return refusal_response(request, refusal, template=template)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Respond to a request that cannot be read or is too large."""
    if isinstance(exception, RequestDataTooBig):
        return refused(request, RequestTooLarge())
    return defaults.bad_request(request, exception)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:  # noqa: ARG001
    """Respond to a form from before a sign-in or from another site."""
    context = {"back": request.path}
    return page(request, "403_csrf.html", context, status=HTTPStatus.FORBIDDEN)


def server_error(request: HttpRequest) -> HttpResponse:
    """Respond to a failed request; after a database failure it may be retried."""
    error = sys.exc_info()[1]
    if isinstance(error, OperationalError | InterfaceError):
        return refused(request, database_failure(error))
    if request.path.startswith(API):
        return problem(Unexpected(), status=HTTPStatus.INTERNAL_SERVER_ERROR)
    return defaults.server_error(request)
