"""Adapt allauth: no sign-up, limits on failures, and an event for each sign-in."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.http import HttpRequest, HttpResponse

from execfabric.identity import services, sign_in
from execfabric.identity.models import User
from execfabric.lib import actor, clock

SIGN_IN = actor.system("sign-in")
"""The actor of a sign-in that failed."""
LONGEST_NAME = 150


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Change how users sign in and out."""

    error_messages = DefaultAccountAdapter.error_messages | {
        "username_password_mismatch": "Wrong user name or password."
    }

    def is_open_for_signup(self, request: HttpRequest) -> bool:  # noqa: ARG002
        """Return False, because only an admin creates accounts."""
        return False

    def add_message(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing, because the next page shows who is signed in."""

    def login(self, request: HttpRequest, user: User) -> None:
        """Open the session and record it."""
        super().login(request, user)
        record("sign_in.succeeded", user)

    def logout(self, request: HttpRequest) -> None:
        """Record the sign-out and end the session."""
        if isinstance(request.user, User):
            record("sign_in.ended", request.user)
        super().logout(request)

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Limit failed sign-ins."""
        username = str(credentials.get("username", ""))
        try:
            self._tries = sign_in.begin(request, username, self.get_client_ip(request))
        except sign_in.TooManyFailures as refusal:
            raise ValidationError(refusal.message, refusal.code) from None

    def authenticate(self, request: HttpRequest, **credentials: Any) -> User | None:
        """Return the user with this name and password, or None."""
        user: User | None = super().authenticate(request, **credentials)
        if user is not None:
            sign_in.succeeded(self._tries)
        return user

    def post_login(
        self, request: HttpRequest, user: User, **options: Any
    ) -> HttpResponse:
        """Redirect the user, and mark the browser as known."""
        response: HttpResponse = super().post_login(request, user, **options)
        sign_in.remember(request, response, user.get_username())
        return response

    def get_client_ip(self, request: HttpRequest) -> str:
        """Return the address of the client, as reported by trusted proxies."""
        try:
            return str(super().get_client_ip(request))
        except ImproperlyConfigured:  # the request did not come through the proxy
            return str(request.META.get("REMOTE_ADDR", ""))

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        """Record a failed sign-in with the name that was entered."""
        super().authentication_failed(request, **credentials)
        name = str(credentials.get("username", ""))[:LONGEST_NAME]
        services.record_sign_in(
            kind="sign_in.failed", username=name, by=SIGN_IN, at=clock.now()
        )

    def respond_user_inactive(self, request: HttpRequest, user: User) -> HttpResponse:
        """Refuse a deactivated account, and record the failed sign-in."""
        services.record_sign_in(
            kind="sign_in.failed",
            username=user.get_username(),
            by=SIGN_IN,
            at=clock.now(),
        )
        response: HttpResponse = super().respond_user_inactive(request, user)
        return response


def record(kind: str, user: User) -> None:
    """Record a sign-in or sign-out of a user."""
    services.record_sign_in(
        kind=kind, username=user.get_username(), by=user.actor(), at=clock.now()
    )
