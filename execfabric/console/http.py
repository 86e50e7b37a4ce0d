"""What every page shares: the typed request, how to render, how to say no."""

from collections.abc import Callable, Mapping
from functools import wraps
from http import HTTPStatus
from typing import Any, Concatenate, ParamSpec

from django.http import HttpRequest as BaseRequest
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_POST
from django_htmx.http import reswap, retarget
from django_htmx.middleware import HtmxDetails

from execfabric.accounts.models import User
from execfabric.http import STATUS
from execfabric.lib import numbers
from execfabric.lib.refusal import Refusal

P = ParamSpec("P")


class HttpRequest(BaseRequest):
    """A request of somebody who is signed in, as the middleware leaves it."""

    user: User
    htmx: HtmxDetails


View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


def wants_fragment(request: BaseRequest) -> bool:
    """Whether htmx asks for a part of the page."""
    asked: HtmxDetails = request.htmx  # type: ignore[attr-defined]
    return bool(asked) and not asked.boosted


def first_listed(request: BaseRequest) -> int:
    """Return the place of the first step to list, from 0; `?from=` counts from 1."""
    place = (numbers.whole(request.GET.get("from", "")) or 1) - 1
    return max(0, min(place, 10**6))


def page(
    request: BaseRequest,
    template: str,
    context: Mapping[str, Any] | None = None,
    *,
    status: int = HTTPStatus.OK,
) -> HttpResponse:
    """Render a page or a fragment that no cache keeps."""
    response = render(request, template, dict(context or {}), status=status)
    response["Cache-Control"] = "no-store"
    patch_vary_headers(response, ["HX-Request"])
    return response


def refusal_response(
    request: BaseRequest,
    refusal: Refusal,
    *,
    template: str = "",
    context: Mapping[str, Any] | None = None,
    status: int | None = None,
) -> HttpResponse:
    """Answer a refusal: as `template` with `refusal` in it, or in the page's alert.

    A fragment without a template of its own goes into the alert at the head of the
    page; what the reader has typed stays where it is.
    """
    fragment = wants_fragment(request) and not template
    template = template or (
        "console/_refusal.html" if fragment else "console/refusal.html"
    )
    values = {**(context or {}), "refusal": refusal}
    response = page(request, template, values, status=status or STATUS[refusal.kind])
    if seconds := refusal.details.get("retry_after"):
        response["Retry-After"] = str(seconds)
    if fragment:
        return reswap(retarget(response, "#refusal"), "outerHTML")
    return response


def form_on(name: str, *keep: str) -> Callable[[View[P]], View[P]]:
    """Accept a POST; answer a GET of its address with the page that the form is on.

    A GET comes from a reload and from the way back after signing in. `keep` names
    the arguments that the page's address shares.
    """

    def decorated(view: View[P]) -> View[P]:
        posted = require_POST(view)

        @wraps(view)
        def answered(
            request: HttpRequest, *args: P.args, **kwargs: P.kwargs
        ) -> HttpResponseBase:
            if request.method not in {"GET", "HEAD"}:
                return posted(request, *args, **kwargs)
            shared: dict[str, Any] = {one: kwargs[one] for one in keep}
            return redirect(reverse(name, kwargs=shared))

        return answered  # type: ignore[return-value]

    return decorated
