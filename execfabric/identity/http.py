"""Authenticate API requests, limit their rate, and build URLs of pages."""

from typing import Literal
from uuid import UUID

from django.conf import settings
from django.http import HttpRequest
from django.urls import reverse
from ninja.security import HttpBearer

from execfabric.identity import services
from execfabric.identity.authority import require
from execfabric.identity.errors import AgentsCannotDecide
from execfabric.infra import throttle
from execfabric.lib import clock
from execfabric.lib.actor import Actor, ActorKind
from execfabric.lib.refusal import Limited
from execfabric.lib.rights import Right

Channel = Literal["api", "cli"]
CHANNEL_HEADER = "X-ExecFabric-Channel"


class TooManyRequests(Limited):
    """Too many requests in one minute."""

    code = "request.rate_limited"

    def __init__(self, seconds: int) -> None:
        super().__init__(
            f"Too many requests (max {settings.API_PER_MINUTE} per minute)."
            f" Try again in {throttle.in_words(seconds)}.",
            retry_after=seconds,
        )


class ApiRequest(HttpRequest):
    auth: Actor


class Bearer(HttpBearer):
    """Authenticate with `Authorization: Bearer ef_...`, not with a session."""

    def authenticate(self, request: HttpRequest, token: str) -> Actor:  # noqa: ARG002
        """Return the holder of the token.

        :raises TooManyRequests: if the holder sent too many requests
        """
        holder = services.holder(token, at=clock.now())
        limit = throttle.RateLimit("api", settings.API_PER_MINUTE, 60)
        if wait := throttle.take(limit, holder.key).wait:
            raise TooManyRequests(wait)
        return holder


class PeopleOnly(Bearer):
    """Refuse an agent before the rest of its request is read.

    Services refuse agents too. This check gives the right reason even if a request is
    invalid, and reveals nothing about the requested object.
    """

    def authenticate(self, request: HttpRequest, token: str) -> Actor:
        holder = super().authenticate(request, token)
        if holder.kind is not ActorKind.USER:
            raise AgentsCannotDecide(actor=holder.key)
        return holder


class Holding(Bearer):
    """Require one right for a whole router."""

    def __init__(self, right: Right) -> None:
        super().__init__()
        self.right = right

    def authenticate(self, request: HttpRequest, token: str) -> Actor:
        holder = super().authenticate(request, token)
        require(holder, self.right)
        return holder


def channel(request: HttpRequest) -> Channel:
    """Return the channel for events: `cli` for our command, `api` otherwise."""
    return "cli" if request.headers.get(CHANNEL_HEADER) == "cli" else "api"


def page(
    request: HttpRequest, name: str, pk: UUID | str, *, argument: str = "pk"
) -> str:
    """Return the absolute URL of a page."""
    return absolute(request, reverse(name, kwargs={argument: pk}))


def absolute(request: HttpRequest, path: str) -> str:
    """Return the absolute URL of a path."""
    if settings.BASE_URL:
        return settings.BASE_URL.rstrip("/") + path
    return request.build_absolute_uri(path)
