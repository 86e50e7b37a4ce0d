"""The typed request, page rendering and the response to a refusal."""

from collections.abc import Callable, Mapping
from functools import wraps
from http import HTTPStatus
from typing import Any, Concatenate, ParamSpec, Protocol

from django.http import HttpRequest as BaseRequest
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_POST
from django_htmx.http import reswap, retarget
from django_htmx.middleware import HtmxDetails

from execfabric.lib import numbers
from execfabric.lib.actor import Actor
from execfabric.lib.refusal import Refusal, RefusalKind
from execfabric.web.problems import STATUS

P = ParamSpec("P")

HEADINGS = {
    RefusalKind.UNREADABLE: "Invalid request",
    RefusalKind.UNAUTHENTICATED: "Sign in required",
    RefusalKind.DENIED: "Not allowed",
    RefusalKind.MISSING: "Not found",
    RefusalKind.CONFLICT: "State has changed",
    RefusalKind.TOO_LARGE: "Request too large",
    RefusalKind.INVALID: "Invalid input",
    RefusalKind.LIMITED: "Too many requests",
    RefusalKind.UNAVAILABLE: "Service unavailable",
}
"""Title of the page that shows a refusal."""


class SignedInUser(Protocol):
    """The parts of `identity.models.User` that pages use."""

    pk: int
    is_authenticated: bool
    group_names: frozenset[str]

    def actor(self) -> Actor:
        """Return the user as the `by` argument of a service call."""
        ...


class HttpRequest(BaseRequest):
    """A request of a signed-in user, after the middleware."""

    user: SignedInUser  # type: ignore[assignment]
    htmx: HtmxDetails


View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def wants_fragment(request: BaseRequest) -> bool:
    """Return True if htmx requests a fragment, not a page."""
    htmx: HtmxDetails = request.htmx  # type: ignore[attr-defined]
    return bool(htmx) and not htmx.boosted


def first_listed(request: BaseRequest) -> int:
    """Return the index of the first step to list, from 0; `?from=` counts from 1."""
    index = (numbers.whole(request.GET.get("from", "")) or 1) - 1
    return max(0, min(index, 10**6))


def page(
    request: BaseRequest,
    template: str,
    context: Mapping[str, Any] | None = None,
    *,
    status: int = HTTPStatus.OK,
) -> HttpResponse:
    """Render a page or a fragment that is not cached.

    A refusal in the context decides the status.
    """
    refusal = (context or {}).get("refusal")
    code = STATUS[refusal.kind] if refusal else status
    response = render(request, template, dict(context or {}), status=code)
    response["Cache-Control"] = "no-store"
    patch_vary_headers(response, ["HX-Request"])
    return response


def refusal_response(
    request: BaseRequest,
    refusal: Refusal,
    *,
    template: str = "",
    context: Mapping[str, Any] | None = None,
) -> HttpResponse:
    """Render a refusal with `template`, or in the alert of the page.

    A fragment without its own template is shown in the alert at the top of the page,
    so that it does not replace what the user has typed.
    """
    fragment = wants_fragment(request) and not template
    template = template or ("web/_refusal.html" if fragment else "web/refusal.html")
    values = {"heading": HEADINGS[refusal.kind], "refusal": refusal, **(context or {})}
    response = page(request, template, values)
    if seconds := refusal.details.get("retry_after"):
        response["Retry-After"] = str(seconds)
    if fragment:
        return reswap(retarget(response, "#refusal"), "outerHTML")
    return response


def form_on(name: str, *shared: str) -> Callable[[View[P]], View[P]]:
    """Accept a POST; redirect a GET of the same URL to the page with the form.

    A GET comes from a reload, or from the redirect after signing in. `shared` names
    the URL arguments that both URLs have.
    """

    def decorated(view: View[P]) -> View[P]:
        posted = require_POST(view)

        @wraps(view)
        def respond(
            request: HttpRequest, *args: P.args, **kwargs: P.kwargs
        ) -> HttpResponseBase:
            if request.method not in {"GET", "HEAD"}:
                return posted(request, *args, **kwargs)
            arguments: dict[str, Any] = {key: kwargs[key] for key in shared}
            return redirect(reverse(name, kwargs=arguments))

        return respond  # type: ignore[return-value]

    return decorated
