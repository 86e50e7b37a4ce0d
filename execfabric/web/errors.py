"""How refusals and failures outside a view are answered, in the form of their client."""

import sys
from http import HTTPStatus

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.views import defaults

from execfabric import api
from execfabric.console.http import refusal_response, wants_fragment
from execfabric.http import STATUS, RequestTooLarge, database_failure, problem
from execfabric.lib.refusal import Refusal

API = "/api/"
TEMPLATES = {
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "413.html",
    HTTPStatus.SERVICE_UNAVAILABLE: "503.html",
}


def refused(request: HttpRequest, refusal: Refusal) -> HttpResponse:
    """Answer a refusal before anyone is known to be signed in."""
    status = _status(refusal)
    if request.path.startswith(API):
        return problem(refusal, status=status)
    template = "" if wants_fragment(request) else TEMPLATES.get(status, "")
    return refusal_response(request, refusal, template=template, status=status)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer a request that failed; one that only the database failed may be repeated."""
    error = sys.exc_info()[1]
    if isinstance(error, OperationalError | InterfaceError):
        return refused(request, database_failure(error))
    if request.path.startswith(API):
        return problem(api.Unexpected(), status=500)
    return defaults.server_error(request)


def _status(refusal: Refusal) -> HTTPStatus:
    if isinstance(refusal, RequestTooLarge):
        return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    return STATUS[refusal.kind]
