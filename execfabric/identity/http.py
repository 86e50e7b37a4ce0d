"""Requests of API clients: who sent one, over which channel, and links back to pages."""

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
    """You have sent too many requests in one minute."""

    code = "request.rate_limited"

    def __init__(self, seconds: int) -> None:
        sentence = (
            f"You may send {settings.API_PER_MINUTE} requests a minute."
            f" Try again in {throttle.in_words(seconds)}."
        )
        super().__init__(sentence, retry_after=seconds)


class ApiRequest(HttpRequest):
    """A request that came with a valid token."""

    auth: Actor


class Bearer(HttpBearer):
    """`Authorization: Bearer ef_...`; a browser's session opens nothing here."""

    def authenticate(self, request: HttpRequest, token: str) -> Actor:  # noqa: ARG002
        """Who holds the token now, within the limit of requests."""
        holder = services.holder(token, at=clock.now())
        limit = throttle.RateLimit("api", settings.API_PER_MINUTE, 60)
        if wait := throttle.take(limit, holder.key).wait:
            raise TooManyRequests(wait)
        return holder


class PeopleOnly(Bearer):
    """Turns an agent away before the rest of its request is read.

    The services refuse it as well; here it learns the reason even where its
    request has other faults, and nothing about what it asked for.
    """

    def authenticate(self, request: HttpRequest, token: str) -> Actor:
        """Who holds the token now, if it is a person."""
        holder = super().authenticate(request, token)
        if holder.kind is not ActorKind.USER:
            raise AgentsCannotDecide(actor=holder.key)
        return holder


class Holding(Bearer):
    """Asks for one right, where a whole group of reads needs it."""

    def __init__(self, right: Right) -> None:
        super().__init__()
        self.right = right

    def authenticate(self, request: HttpRequest, token: str) -> Actor:
        """Who holds the token now, if they have the right."""
        holder = super().authenticate(request, token)
        require(holder, self.right)
        return holder


def channel(request: HttpRequest) -> Channel:
    """The way in that stands in the record; whatever is not the CLI is the API."""
    return "cli" if request.headers.get(CHANNEL_HEADER) == "cli" else "api"


def page(request: HttpRequest, name: str, pk: UUID) -> str:
    """The absolute address of a console page."""
    path = reverse(name, kwargs={"pk": pk})
    if settings.BASE_URL:
        return settings.BASE_URL.rstrip("/") + path
    return request.build_absolute_uri(path)
