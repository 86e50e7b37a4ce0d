"""Error responses outside of views, as a page, a fragment or a problem."""

import re
import sys
from http import HTTPStatus

from django.conf import settings
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

_HOOKS = re.compile(settings.HOOK_PATHS)
TEMPLATES = {
    RefusalKind.UNREADABLE: "400.html",
    RefusalKind.TOO_LARGE: "413.html",
    RefusalKind.UNAVAILABLE: "503.html",
}


def _wants_problem(request: HttpRequest) -> bool:
    """Return True if a program sent the request: to the API, or to a webhook."""
    return request.path.startswith(API) or bool(_HOOKS.fullmatch(request.path))


def refused(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    """Respond to a refusal; the user may not be known yet."""
    if _wants_problem(request):
        return problem(refusal)
    template = "" if wants_fragment(request) else TEMPLATES.get(refusal.kind, "")
    return refusal_response(request, refusal, template=template)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    if isinstance(exception, RequestDataTooBig):
        return refused(request, RequestTooLarge())
    return defaults.bad_request(request, exception)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:  # noqa: ARG001
    """Respond to a form that is outdated or comes from another site."""
    context = {"back": request.path}
    return page(request, "403_csrf.html", context, status=HTTPStatus.FORBIDDEN)


def server_error(request: HttpRequest) -> HttpResponse:
    """Respond to a failed request; after a database failure it may be retried."""
    error = sys.exc_info()[1]
    if isinstance(error, OperationalError | InterfaceError):
        return refused(request, database_failure(error))
    if _wants_problem(request):
        return problem(Unexpected(), status=HTTPStatus.INTERNAL_SERVER_ERROR)
    return defaults.server_error(request)
