"""What stands between every request and its view."""

from collections.abc import Callable
from typing import Any

from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.http import HttpRequest, HttpResponse
from django.utils.deprecation import MiddlewareMixin
from django_htmx.http import reswap, retarget

from execfabric.console.http import page, refusal_response, wants_fragment
from execfabric.lib.refusal import Refusal


class SignInRequired(LoginRequiredMiddleware):
    """Lead to the sign-in page and back; a part of a page says it where it stands.

    The way back is a GET of the same address: `form_on` leads it on to the form.
    """

    def handle_no_permission(  # type: ignore[override]
        self, request: HttpRequest, view_func: Callable[..., Any]
    ) -> HttpResponse:
        """Answer a request without a session."""
        if not wants_fragment(request):
            return super().handle_no_permission(request, view_func)
        back = request.htmx.current_url_abs_path or "/"  # type: ignore[attr-defined]
        alert = page(request, "console/_signed_out.html", {"next": back}, status=401)
        return reswap(retarget(alert, "#refusal"), "outerHTML")


class RefusalsAnswered(MiddlewareMixin):
    """Lets the views of pages call services and answers every refusal."""

    def process_exception(
        self, request: HttpRequest, exception: Exception
    ) -> HttpResponse | None:
        """Answer a refusal; leave anything else to Django."""
        if isinstance(exception, Refusal):
            return refusal_response(request, exception)
        return None
