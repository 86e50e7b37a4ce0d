"""REST under `/api/v1`: who may call, how a refusal looks, and which routes there are."""

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

log = logging.getLogger(__name__)
View = Callable[..., HttpResponseBase]


class RouteUnknown(Missing):
    """There is nothing at this address."""

    code = "request.route_unknown"


class MethodNotAllowed(Invalid):
    """This address does not answer this method; `Allow` lists the ones it does."""

    code = "request.method_not_allowed"


class RequestInvalid(Invalid):
    """The request does not have the form that the API document describes."""

    code = "request.invalid"


class StrictParser(Parser):
    """Reads JSON strictly, and refuses text that Postgres cannot keep."""

    def parse_body(self, request: HttpRequest) -> Any:
        """The JSON value of the body, without duplicate keys, NUL or deep nesting."""
        value = canonical.loads(request.body)
        canonical.check_depth(value)
        check_texts("", value)
        return value


class ExecFabricAPI(NinjaAPI):
    """The API; each of its routes asks for a token, so none asks for a session."""

    @property
    def urls(self) -> tuple[list[URLResolver | URLPattern], str, str]:
        """What `urls.py` mounts."""
        patterns, app, namespace = super().urls
        routes = [found for found in patterns if isinstance(found, URLPattern)]
        for route in routes:
            methods = ["GET"] if route.name == "openapi-json" else None
            route.callback = with_methods(route.callback, methods)
        # Ninja's own page at the root gives way; its name is asked for.
        patterns = [route for route in routes if route.name != "api-root"]
        patterns.append(path("", route_unknown, name="api-root"))
        patterns.append(path("<path:rest>", route_unknown))
        return patterns, app, namespace

    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        """Return the document, with the refusals that every operation shares."""
        document = super().get_openapi_schema(**options)
        describe(document)
        return document


def with_methods(view: View, methods: list[str] | None = None) -> View:
    """Answer HEAD like GET, OPTIONS with the methods, and others as a problem.

    `methods` are those of a view that answers any method; Ninja's views refuse others.
    """

    @login_not_required
    @csrf_exempt
    @wraps(view)
    def answered(request: HttpRequest, **parts: Any) -> HttpResponseBase:
        asked = request.method
        method = "GET" if asked == "HEAD" else asked
        if methods and method not in methods:
            return _not_allowed(asked, methods)
        request.method = method
        response = view(request, **parts)
        # The handler drops the body of a response to HEAD.
        request.method = asked
        if response.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            return _not_allowed(asked, response["Allow"].split(", "))
        return response

    return answered


def _not_allowed(asked: str | None, methods: list[str]) -> HttpResponse:
    allowed = {*methods, "OPTIONS", *(["HEAD"] if "GET" in methods else [])}
    if asked == "OPTIONS":
        response = HttpResponse(status=HTTPStatus.NO_CONTENT)
        del response["Content-Type"]
    else:
        response = problem(MethodNotAllowed(), status=HTTPStatus.METHOD_NOT_ALLOWED)
    response["Allow"] = ", ".join(sorted(allowed))
    return response


@login_not_required
@csrf_exempt
def route_unknown(_request: HttpRequest, **_parts: str) -> HttpResponse:
    """Answer an address that no route has."""
    return problem(RouteUnknown())


def _refused(_request: HttpRequest, refusal: Any) -> HttpResponse:
    return problem(refusal)


def _without_token(_request: HttpRequest, _error: Any) -> HttpResponse:
    return problem(NotSignedIn())


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


def _too_large(_request: HttpRequest, _error: Any) -> HttpResponse:
    return problem(RequestTooLarge())


def _suspicious(_request: HttpRequest, error: Any) -> HttpResponse:
    return problem(RequestUnreadable(f"Cannot read the request: {error}"))


def _database_away(request: HttpRequest, error: Any) -> HttpResponse:
    log.error("%s %s: %s", request.method, request.path, error)
    return problem(database_failure(error))


def _unexpected(request: HttpRequest, error: Any) -> HttpResponse:
    log.error("%s %s", request.method, request.path, exc_info=error)
    return problem(Unexpected(), status=500)


def _not_found(_request: HttpRequest, _error: Any) -> HttpResponse:
    return problem(RouteUnknown())


api = ExecFabricAPI(
    title="ExecFabric",
    version="1",
    description="Propose plans, watch runs, answer gates, verify the record.",
    docs_url=None,
    auth=Bearer(),
    parser=StrictParser(),
    urls_namespace="api",
)
api.add_exception_handler(Exception, _unexpected)
api.add_exception_handler(OperationalError, _database_away)
api.add_exception_handler(InterfaceError, _database_away)
api.add_exception_handler(Refusal, _refused)
api.add_exception_handler(AuthenticationError, _without_token)
api.add_exception_handler(HttpError, _unreadable)
api.add_exception_handler(ValidationError, _malformed)
api.add_exception_handler(SuspiciousOperation, _suspicious)
api.add_exception_handler(UnreadablePostError, _suspicious)
api.add_exception_handler(RequestDataTooBig, _too_large)
api.add_exception_handler(Http404, _not_found)
api.add_router("", accounts_router)
api.add_router("", runs_router)
api.add_router("", approvals_router)
api.add_router("", skills_router)
api.add_router("", verification_router)
