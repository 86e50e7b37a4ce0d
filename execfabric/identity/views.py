"""Sign in, and set a password with a one-time link."""

from allauth.account.adapter import get_adapter
from allauth.account.views import LoginView
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.password_validation import password_validators_help_texts
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, resolve_url
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from execfabric.identity import demo, links
from execfabric.identity.errors import (
    LinkInvalid,
    NameInvalid,
    PasswordRefused,
    UserExists,
)
from execfabric.identity.forms import FirstAdminForm, PasswordForm
from execfabric.identity.models import PasswordLink, User
from execfabric.lib import clock
from execfabric.lib.refusal import Refusal
from execfabric.web.http import form_on, page, refusal_response

sign_in = LoginView.as_view(extra_context={"demo_users": demo.offered})


@form_on("account_login")
@login_not_required
@never_cache
def demo_sign_in(request: HttpRequest) -> HttpResponse:
    """Sign in as a demo user; refused outside demo mode."""
    try:
        user = demo.account(request.POST.get("username", ""))
    except Refusal as refusal:
        return refusal_response(request, refusal)
    adapter = get_adapter(request)
    adapter.login(request, user)
    next_url = request.POST.get("next", "")
    return redirect(next_url if adapter.is_safe_url(next_url) else _home())


@require_http_methods(["GET", "HEAD", "POST"])
@login_not_required
@never_cache
def set_password(request: HttpRequest, link: str) -> HttpResponse:
    """Set a password with a one-time link, and sign in. A GET does not use the link."""
    try:
        opened = links.opened(link, at=clock.now())
        if request.method != "POST":
            return _password_page(request, opened, _password_form(opened))
        form = _password_form(opened, request.POST)
        user = _used(link, form) if form.is_valid() else None
    except LinkInvalid as refusal:
        return refusal_response(request, refusal, template="account/link_invalid.html")
    if user is None:
        return _password_page(request, opened, form)
    get_adapter(request).login(request, user)
    return redirect(_home())


def _password_form(link: PasswordLink, data: QueryDict | None = None) -> PasswordForm:
    if link.user is not None:
        return PasswordForm(data)
    return FirstAdminForm(data, initial={"username": "admin"})


def _used(link: str, form: PasswordForm) -> User | None:
    """Set the password; return the user, or None with errors in the form."""
    values = form.cleaned_data
    try:
        return links.use(
            link,
            username=values.get("username", ""),
            password=values["password"],
            at=clock.now(),
        )
    except PasswordRefused as refusal:
        form.add_error("password", refusal.sentences)
    except (NameInvalid, UserExists) as refusal:
        form.add_error("username", refusal.message)
    return None


def _password_page(
    request: HttpRequest, link: PasswordLink, form: PasswordForm
) -> HttpResponse:
    context = {
        "form": form,
        "link": link,
        "rules": password_validators_help_texts(),
    }
    status = 422 if form.errors else 200
    return page(request, "account/set_password.html", context, status=status)


def _home() -> str:
    return resolve_url(settings.LOGIN_REDIRECT_URL)
