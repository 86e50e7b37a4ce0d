"""Signing in: with a password, and in demo mode at one click."""

from typing import Any

from allauth.account.adapter import get_adapter
from allauth.account.views import LoginView
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, resolve_url
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from execfabric.accounts import demo
from execfabric.console.http import refusal_response
from execfabric.lib.refusal import Refusal


class SignIn(LoginView):  # type: ignore[misc]
    """The sign-in page, with the demo's people where there is a demo."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Add whom the page offers."""
        return {**super().get_context_data(**kwargs), "demo_users": demo.offered()}


sign_in = SignIn.as_view()


@require_POST
@login_not_required
@never_cache
def demo_sign_in(request: HttpRequest) -> HttpResponse:
    """Sign in as one of the demo's people; refused outside demo mode."""
    try:
        user = demo.account(request.POST.get("username", ""))
    except Refusal as refusal:
        return refusal_response(request, refusal)
    adapter = get_adapter(request)
    adapter.login(request, user)
    wanted = request.POST.get("next", "")
    return redirect(wanted if adapter.is_safe_url(wanted) else _home())


def _home() -> str:
    return resolve_url(settings.LOGIN_REDIRECT_URL)
