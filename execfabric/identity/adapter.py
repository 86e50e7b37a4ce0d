"""How allauth serves us: nobody signs up by themselves, and each sign-in is recorded."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.http import HttpRequest, HttpResponse

from execfabric.identity import services, sign_in
from execfabric.identity.models import User
from execfabric.lib import actor, clock

NOBODY = actor.system("sign-in")
LONGEST_NAME = 150


class AccountAdapter(DefaultAccountAdapter):  # type: ignore[misc]
    """Overrides what happens around signing in and out."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:  # noqa: ARG002
        """Never: accounts are made by an administrator."""
        return False

    def add_message(self, *args: Any, **kwargs: Any) -> None:
        """Say nothing: the page that follows shows who is signed in."""

    def login(self, request: HttpRequest, user: User) -> None:
        """Open the session and record it."""
        super().login(request, user)
        record("sign_in.succeeded", user)

    def logout(self, request: HttpRequest) -> None:
        """Record it and end the session."""
        if isinstance(request.user, User):
            record("sign_in.ended", request.user)
        super().logout(request)

    def pre_authenticate(self, request: HttpRequest, **credentials: Any) -> None:
        """Limit how often a password can be guessed."""
        username = str(credentials.get("username", ""))
        try:
            self._tries = sign_in.begin(request, username, self.get_client_ip(request))
        except sign_in.TooManyFailures as refusal:
            raise ValidationError(refusal.message, refusal.code) from None

    def authenticate(self, request: HttpRequest, **credentials: Any) -> User | None:
        """Return the user with this name and password, if there is one."""
        user: User | None = super().authenticate(request, **credentials)
        if user is not None:
            sign_in.succeeded(self._tries)
        return user

    def post_login(
        self, request: HttpRequest, user: User, **options: Any
    ) -> HttpResponse:
        """Send the user on, and remember the browser."""
        response: HttpResponse = super().post_login(request, user, **options)
        sign_in.remember(request, response, user.get_username())
        return response

    def get_client_ip(self, request: HttpRequest) -> str:
        """Return the address of the client, as far back as proxies can be trusted."""
        try:
            return str(super().get_client_ip(request))
        except ImproperlyConfigured:  # it came past a proxy that is configured
            return str(request.META.get("REMOTE_ADDR", ""))

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        """Record a failed try under the name that was given."""
        super().authentication_failed(request, **credentials)
        name = str(credentials.get("username", ""))[:LONGEST_NAME]
        services.record_sign_in(
            kind="sign_in.failed", username=name, by=NOBODY, at=clock.now()
        )

    def respond_user_inactive(self, request: HttpRequest, user: User) -> HttpResponse:
        """Turn away an account that was switched off, and record the try."""
        services.record_sign_in(
            kind="sign_in.failed",
            username=user.get_username(),
            by=NOBODY,
            at=clock.now(),
        )
        response: HttpResponse = super().respond_user_inactive(request, user)
        return response


def record(kind: str, user: User) -> None:
    """Put something a person did with their session into the record."""
    services.record_sign_in(
        kind=kind, username=user.get_username(), by=user.actor(), at=clock.now()
    )
