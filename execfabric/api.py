"""REST under `/api/v1`: who may call, how a refusal looks, and which routes there are."""

import json
import logging
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import RequestDataTooBig
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, URLResolver, path
from django.utils.datastructures import MultiValueDict
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError
from ninja.parser import Parser
from pydantic_core import to_jsonable_python

from approvals.api import router as approvals_router
from audit.api import router as audit_router
from execfabric.accounts.api import router as accounts_router
from execfabric.accounts.authority import Right
from execfabric.accounts.errors import NotSignedIn
from execfabric.accounts.http import Bearer, Holding
from execfabric.http import RequestTooLarge
from execfabric.lib import canonical
from execfabric.lib.refusal import Invalid, Missing, Refusal, RefusalKind
from orchestration.plans.api import router as plans_router
from orchestration.runs.api import router as runs_router
from orchestration.skills.api import router as skills_router

log = logging.getLogger(__name__)

STATUS = {
    RefusalKind.DENIED: 403,
    RefusalKind.MISSING: 404,
    RefusalKind.CONFLICT: 409,
    RefusalKind.INVALID: 422,
}


class RouteUnknown(Missing):
    """There is nothing at this address."""

    code = "request.route_unknown"


class BodyUnreadable(Invalid):
    """The body is not JSON that can be read and kept."""

    code = "request.unreadable"


class RequestInvalid(Invalid):
    """The request does not have the form that the API document describes."""

    code = "request.invalid"


class Unexpected(Refusal):
    """Something went wrong that nobody foresaw; it stands in the server's log."""

    code = "server.unexpected"


class StrictParser(Parser):
    """Reads JSON strictly, and refuses text that Postgres cannot keep."""

    def parse_body(self, request: HttpRequest) -> Any:
        """The JSON value of the body, without duplicate keys, NUL or deep nesting."""
        value = canonical.loads(request.body)
        canonical.check_depth(value)
        _check_texts(value)
        return value

    def parse_querydict(
        self,
        data: MultiValueDict[str, Any],
        list_fields: list[str],
        request: HttpRequest,
    ) -> dict[str, Any]:
        """The parameters of a query."""
        value = super().parse_querydict(data, list_fields, request)
        _check_texts(value)
        return value


class ExecFabricAPI(NinjaAPI):
    """The API; each of its routes asks for a token, so none asks for a session."""

    @property
    def urls(self) -> tuple[list[URLResolver | URLPattern], str, str]:
        """What `urls.py` mounts."""
        patterns, app, namespace = super().urls
        patterns.append(path("<path:rest>", csrf_exempt(_route_unknown)))
        for pattern in patterns:
            if pattern.callback is not None:
                login_not_required(pattern.callback)
        return patterns, app, namespace


def problem(refusal: Refusal, *, status: int | None = None) -> HttpResponse:
    """A refusal as RFC 9457 problem details."""
    title = (type(refusal).__doc__ or refusal.code).strip().splitlines()[0]
    code = status or (401 if isinstance(refusal, NotSignedIn) else STATUS[refusal.kind])
    body = {
        **to_jsonable_python(refusal.details, fallback=str),
        "type": f"urn:execfabric:problem:{refusal.code}",
        "title": title,
        "status": code,
        "code": refusal.code,
        "detail": refusal.message,
    }
    response = HttpResponse(
        json.dumps(body), status=code, content_type="application/problem+json"
    )
    if code == 401:  # noqa: PLR2004  RFC 9110 asks for the header
        response["WWW-Authenticate"] = 'Bearer realm="execfabric"'
    return response


def _check_texts(value: Any) -> None:
    """Refuse NUL characters and lone surrogates, wherever they stand."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting.extend([*item.keys(), *item.values()])
        elif isinstance(item, list):
            waiting.extend(item)
        elif isinstance(item, str) and ("\0" in item or not _is_unicode(item)):
            raise BodyUnreadable("A text contains a character that cannot be kept.")


def _is_unicode(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _refused(_request: HttpRequest, refusal: Any) -> HttpResponse:
    return problem(refusal)


def _without_token(_request: HttpRequest, _error: Any) -> HttpResponse:
    return problem(NotSignedIn())


def _unreadable(_request: HttpRequest, error: Any) -> HttpResponse:
    cause = error.__cause__
    sentence = str(cause) if isinstance(cause, Refusal) else str(error)
    return problem(BodyUnreadable(sentence), status=error.status_code)


def _malformed(_request: HttpRequest, error: Any) -> HttpResponse:
    faults = [
        {"at": ".".join(str(part) for part in fault["loc"]), "message": fault["msg"]}
        for fault in error.errors
    ]
    first = f"{faults[0]['at']}: {faults[0]['message']}" if faults else ""
    return problem(RequestInvalid(first, errors=faults))


def _too_large(_request: HttpRequest, _error: Any) -> HttpResponse:
    return problem(RequestTooLarge(), status=413)


def _route_unknown(_request: HttpRequest, **_parts: str) -> HttpResponse:
    return problem(RouteUnknown())


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
api.add_exception_handler(Refusal, _refused)
api.add_exception_handler(AuthenticationError, _without_token)
api.add_exception_handler(HttpError, _unreadable)
api.add_exception_handler(ValidationError, _malformed)
api.add_exception_handler(RequestDataTooBig, _too_large)
api.add_exception_handler(Http404, _not_found)
api.add_router("", accounts_router)
api.add_router("", plans_router)
api.add_router("", runs_router)
api.add_router("", approvals_router)
api.add_router("", skills_router)
api.add_router("", audit_router, auth=Holding(Right.TRACE))
