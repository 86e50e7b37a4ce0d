"""The REST API under `/api/v1`: authentication, error responses and routes."""

import logging
from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, UnreadablePostError
from django.http.response import HttpResponseBase
from django.urls import URLPattern, URLResolver, path
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError
from ninja.openapi.schema import OpenAPISchema
from ninja.parser import Parser

from approvals.api import router as approvals_router
from execfabric.api_document import describe
from execfabric.identity.api import router as accounts_router
from execfabric.identity.errors import NotSignedIn
from execfabric.identity.http import Bearer
from execfabric.lib import canonical
from execfabric.lib.refusal import Invalid, Missing, Refusal
from execfabric.web.problems import (
    RequestTooLarge,
    RequestUnreadable,
    Unexpected,
    check_texts,
    database_failure,
    problem,
)
from orchestration.runs.api import router as runs_router
from orchestration.skills.api import router as skills_router
from orchestration.trace.api import router as verification_router
from orchestration.triggers.api import router as triggers_router

log = logging.getLogger(__name__)
View = Callable[..., HttpResponseBase]


class RouteUnknown(Missing):
    """Unknown path. See the API document for all paths."""

    code = "request.route_unknown"


class MethodNotAllowed(Invalid):
    """This path does not support this method. See the `Allow` header."""

    code = "request.method_not_allowed"


class RequestInvalid(Invalid):
    """Invalid request. See the API document for its form."""

    code = "request.invalid"


class StrictParser(Parser):
    """Read strict JSON; refuse text that Postgres cannot store."""

    def parse_body(self, request: HttpRequest) -> Any:
        """Parse the body; refuse duplicate keys, NUL and deep nesting."""
        value = canonical.loads(request.body)
        canonical.check_depth(value)
        check_texts("", value)
        return value


class ExecFabricAPI(NinjaAPI):
    """The API; all its routes require a token instead of a session."""

    @property
    def urls(self) -> tuple[list[URLResolver | URLPattern], str, str]:
        """Routes for `urls.py`."""
        patterns, app, namespace = super().urls
        routes = [route for route in patterns if isinstance(route, URLPattern)]
        for route in routes:
            methods = ["GET"] if route.name == "openapi-json" else None
            route.callback = with_methods(route.callback, methods)
        # This replaces Ninja's own page at the root; Ninja looks up its name.
        patterns = [route for route in routes if route.name != "api-root"]
        patterns.append(path("", route_unknown, name="api-root"))
        patterns.append(path("<path:rest>", route_unknown))
        return patterns, app, namespace

    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        """Return the document, with the error responses of every operation."""
        document = super().get_openapi_schema(**options)
        describe(document)
        return document


def with_methods(view: View, methods: list[str] | None = None) -> View:
    """Serve HEAD like GET, list the methods for OPTIONS, refuse others as a problem.

    `methods` are for a view that accepts any method; Ninja's views refuse others.
    """

    @login_not_required
    @csrf_exempt
    @wraps(view)
    def respond(request: HttpRequest, **parts: Any) -> HttpResponseBase:
        sent_method = request.method
        method = "GET" if sent_method == "HEAD" else sent_method
        if methods and method not in methods:
            return _not_allowed(sent_method, methods)
        request.method = method
        response = view(request, **parts)
        # Django's handler drops the body of a response to HEAD.
        request.method = sent_method
        if response.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            return _not_allowed(sent_method, response["Allow"].split(", "))
        return response

    return respond


def _not_allowed(method: str | None, methods: list[str]) -> HttpResponse:
    allowed = {*methods, "OPTIONS", *(["HEAD"] if "GET" in methods else [])}
    if method == "OPTIONS":
        response = HttpResponse(status=HTTPStatus.NO_CONTENT)
        del response["Content-Type"]
    else:
        response = problem(MethodNotAllowed(), status=HTTPStatus.METHOD_NOT_ALLOWED)
    response["Allow"] = ", ".join(sorted(allowed))
    return response


@login_not_required
@csrf_exempt
def route_unknown(_request: HttpRequest, **_parts: str) -> HttpResponse:
    """Respond to an unknown path."""
    return problem(RouteUnknown())


def _unreadable(_request: HttpRequest, error: Any) -> HttpResponse:
    cause = error.__cause__
    sentence = str(cause) if isinstance(cause, Refusal) else str(error)
    details = cause.details if isinstance(cause, Refusal) else {}
    return problem(RequestUnreadable(sentence, **details), status=error.status_code)


def _malformed(_request: HttpRequest, error: Any) -> HttpResponse:
    faults = [
        {"at": ".".join(str(part) for part in fault["loc"]), "message": fault["msg"]}
        for fault in error.errors
    ]
    first = f"{faults[0]['at']}: {faults[0]['message']}" if faults else ""
    return problem(RequestInvalid(first, errors=faults))


def _suspicious(_request: HttpRequest, error: Any) -> HttpResponse:
    return problem(RequestUnreadable(f"Cannot read the request: {error}"))


def _database_away(request: HttpRequest, error: Any) -> HttpResponse:
    log.error("%s %s: %s", request.method, request.path, error)
    return problem(database_failure(error))


def _unexpected(request: HttpRequest, error: Any) -> HttpResponse:
    log.error("%s %s", request.method, request.path, exc_info=error)
    return problem(Unexpected(), status=500)


HANDLERS: dict[type[Exception], Callable[[HttpRequest, Any], HttpResponse]] = {
    Exception: _unexpected,
    OperationalError: _database_away,
    InterfaceError: _database_away,
    Refusal: lambda _, refusal: problem(refusal),
    AuthenticationError: lambda *_: problem(NotSignedIn()),
    HttpError: _unreadable,
    ValidationError: _malformed,
    SuspiciousOperation: _suspicious,
    UnreadablePostError: _suspicious,
    RequestDataTooBig: lambda *_: problem(RequestTooLarge()),
    Http404: lambda *_: problem(RouteUnknown()),
}
ROUTERS = (
    accounts_router,
    runs_router,
    approvals_router,
    skills_router,
    triggers_router,
    verification_router,
)

api = ExecFabricAPI(
    title="ExecFabric",
    version="1",
    description="Propose plans, follow runs, decide gates, verify the audit log.",
    docs_url=None,
    auth=Bearer(),
    parser=StrictParser(),
    urls_namespace="api",
)
for kind, handler in HANDLERS.items():
    api.add_exception_handler(kind, handler)
for router in ROUTERS:
    api.add_router("", router)
