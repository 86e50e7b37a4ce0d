"""Middleware of the web server."""

from collections.abc import Callable
from typing import Any

from django.contrib.auth.middleware import LoginRequiredMiddleware
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware
from django.utils.deprecation import MiddlewareMixin
from django_htmx.http import reswap, retarget

from execfabric.infra import database
from execfabric.lib.refusal import Refusal
from execfabric.web import errors
from execfabric.web.http import page, refusal_response, wants_fragment
from execfabric.web.problems import API, RequestUnreadable, check_texts


class ReleaseConnection(MiddlewareMixin):
    """Release the database connection before the response is sent.

    Otherwise a client that reads slowly would hold it.
    """

    def process_response(
        self, _request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        database.release()
        return response


class CompressPages(GZipMiddleware):
    """Compress pages and JSON, but not downloads, whose digest must match.

    Against BREACH, Django masks the CSRF token differently in each page, and adds a
    random number of bytes to each compressed response.
    """

    def process_response(
        self, request: HttpRequest, response: HttpResponseBase
    ) -> HttpResponseBase:
        if "Repr-Digest" in response:
            return response
        return super().process_response(request, response)


class SignInRequired(LoginRequiredMiddleware):
    """Redirect to the sign-in page; a fragment shows an alert instead.

    The redirect back is a GET of the same URL, which `form_on` redirects to its form.
    """

    def handle_no_permission(  # type: ignore[override]
        self, request: HttpRequest, view_func: Callable[..., Any]
    ) -> HttpResponse:
        if not wants_fragment(request):
            return super().handle_no_permission(request, view_func)
        back = request.htmx.current_url_abs_path or "/"  # type: ignore[attr-defined]
        alert = page(request, "web/_signed_out.html", {"next": back}, status=401)
        return reswap(retarget(alert, "#refusal"), "outerHTML")


class RefuseUnstorableText(MiddlewareMixin):
    """Refuse text that Postgres cannot store, in URLs and form fields."""

    def process_request(self, request: HttpRequest) -> HttpResponse | None:
        try:
            check_texts("path", request.path)
            if "%00" in request.META.get("QUERY_STRING", ""):
                check_texts("query", dict(request.GET.lists()))
        except RequestUnreadable as refusal:
            return errors.refused(request, refusal)
        return None

    def process_view(
        self, request: HttpRequest, _view: Any, _args: Any, _kwargs: Any
    ) -> HttpResponse | None:
        """Check a form, after the CSRF check."""
        if request.method != "POST" or request.path.startswith(API):
            return None
        try:
            check_texts("", dict(request.POST.lists()))
        except RequestUnreadable as refusal:
            return errors.refused(request, refusal)
        return None


class RefusalResponses(MiddlewareMixin):
    """Render the refusals that views raise."""

    def process_exception(
        self, request: HttpRequest, exception: Exception
    ) -> HttpResponse | None:
        if isinstance(exception, Refusal):
            return refusal_response(request, exception)
        return None
