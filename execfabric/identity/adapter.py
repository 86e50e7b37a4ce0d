"""Adapt allauth: no sign-up, limits on failures, and an event for each sign-in."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse

from audit import services as audit
from execfabric.identity import sign_in
from execfabric.identity.models import User
from execfabric.infra import throttle
from execfabric.lib import clock
from execfabric.lib.actor import Actor, system

STREAM = "sign-in"
SIGN_IN = system("sign-in")
"""The actor of a sign-in that failed."""
LONGEST_NAME = 150


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    error_messages = DefaultAccountAdapter.error_messages | {
        "username_password_mismatch": "Wrong user name or password."
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:  # noqa: ARG002
        """Return False, because only an admin creates accounts."""
        return False

    def add_message(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing, because the next page shows who is signed in."""

    def login(self, request: HttpRequest, user: User) -> None:
        super().login(request, user)
        _record("sign_in.succeeded", user.get_username(), user.actor())

    def logout(self, request: HttpRequest) -> None:
        if isinstance(request.user, User):
            _record("sign_in.ended", request.user.get_username(), request.user.actor())
        super().logout(request)

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        username = str(credentials.get("username", ""))
        try:
            self._tries = sign_in.begin(request, username, self.get_client_ip(request))
        except sign_in.TooManyFailures as refusal:
            raise ValidationError(refusal.message, refusal.code) from None

    def authenticate(self, request: HttpRequest, **credentials: Any) -> User | None:
        user: User | None = super().authenticate(request, **credentials)
        if user is not None:
            for tried in self._tries:
                throttle.give_back(tried)
        return user

    def post_login(
        self, request: HttpRequest, user: User, **options: Any
    ) -> HttpResponse:
        response: HttpResponse = super().post_login(request, user, **options)
        sign_in.remember(request, response, user.get_username())
        return response

    def get_client_ip(self, request: HttpRequest) -> str:
        try:
            return str(super().get_client_ip(request))
        except ImproperlyConfigured:  # the request did not come through the proxy
            return str(request.META.get("REMOTE_ADDR", ""))

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        super().authentication_failed(request, **credentials)
        name = str(credentials.get("username", ""))[:LONGEST_NAME]
        _record("sign_in.failed", name, SIGN_IN)

    def respond_user_inactive(self, request: HttpRequest, user: User) -> HttpResponse:
        _record("sign_in.failed", user.get_username(), SIGN_IN)
        response: HttpResponse = super().respond_user_inactive(request, user)
        return response


@transaction.atomic
def _record(kind: str, username: str, by: Actor) -> None:
    fact = audit.Fact(kind, {"username": username})
    audit.append(STREAM, [fact], by=by, at=clock.now())
