"""Refuses text that Postgres cannot store, before any view asks the database."""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from execfabric.console.http import refusal_response, wants_fragment
from execfabric.http import Unreadable, check_texts, problem

API = "/api/"


class TextMiddleware:
    """Refuses null characters in the address and in the fields of a form."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        """Check the address."""
        try:
            check_texts("path", request.path)
            if "%00" in request.META.get("QUERY_STRING", ""):
                check_texts("query", dict(request.GET.lists()))
        except Unreadable as refusal:
            return _refused(request, refusal)
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, _view: Any, _args: Any, _kwargs: Any
    ) -> HttpResponse | None:
        """Check a form once it is known that its sender may send it."""
        if request.method != "POST" or request.path.startswith(API):
            return None
        try:
            check_texts("", dict(request.POST.lists()))
        except Unreadable as refusal:
            return _refused(request, refusal)
        return None


def _refused(request: HttpRequest, refusal: Unreadable) -> HttpResponse:
    if request.path.startswith(API):
        return problem(refusal, status=HTTPStatus.BAD_REQUEST)
    template = "" if wants_fragment(request) else "400.html"
    return refusal_response(
        request, refusal, template=template, status=HTTPStatus.BAD_REQUEST
    )
