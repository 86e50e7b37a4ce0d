"""The start page, the style guide, and what a load balancer asks."""

from datetime import timedelta
from http import HTTPStatus

from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.core.exceptions import RequestDataTooBig
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import Http404, HttpResponse, JsonResponse
from django.http import HttpRequest as BaseRequest
from django.views import defaults
from django.views.decorators.http import require_safe
from redis import Redis, RedisError

from execfabric.console import home as homes
from execfabric.console import looks
from execfabric.console.http import (
    HttpRequest,
    page,
    refusal_response,
    refusals_answered,
    wants_fragment,
)
from execfabric.http import RequestTooLarge
from execfabric.lib import clock

SECONDS = 2
SAMPLE = {
    "month": "2026-09",
    "rows": 1284,
    "to": ["published/", "archive/"],
    "token": {"$secret": "jira-token"},
    "note": "plain text, and a hidden \u202econtrol",
}


@require_safe
@refusals_answered
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


@require_safe
@login_not_required
def healthz(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """The process answers."""
    return HttpResponse("ok\n", content_type="text/plain")


@require_safe
@login_not_required
def readyz(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Database, broker and migrations are there; 503 names what is not."""
    checks = {"database": _database(), "broker": _broker()}
    if checks["database"] == "ok":
        checks["migrations"] = _migrations()
    ready = all(answer == "ok" for answer in checks.values())
    return JsonResponse(checks, status=200 if ready else 503)


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


def _database() -> str:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    except DatabaseError:
        return "unreachable"
    return "ok"


def _broker() -> str:
    client = Redis.from_url(
        settings.REDIS_URL, socket_timeout=SECONDS, socket_connect_timeout=SECONDS
    )
    try:
        client.ping()
    except RedisError:
        return "unreachable"
    finally:
        client.close()
    return "ok"


def _migrations() -> str:
    executor = MigrationExecutor(connection)
    targets = executor.loader.graph.leaf_nodes()
    return "missing" if executor.migration_plan(targets) else "ok"
