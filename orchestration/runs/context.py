"""The active stops of the dispatch, for every page."""

from functools import cached_property

from django.http import HttpRequest
from django.template.loader import render_to_string

from execfabric.identity.models import User
from orchestration.runs.models import Stop

SHOWN = 3
"""Stops that the banner names."""


class StopBanner:
    """The banner about active stops; queried only when a page shows it.

    Without a request it replaces the banner of an open page.
    """

    def __init__(self, request: HttpRequest | None = None) -> None:
        self._request = request

    @property
    def oob(self) -> bool:
        return self._request is None

    @property
    def shown(self) -> list[Stop]:
        return self._active[:SHOWN]

    @property
    def others(self) -> int:
        return len(self._active) - len(self.shown)

    @cached_property
    def _active(self) -> list[Stop]:
        # Only when drawn: an error page must not query a database that is away.
        user = getattr(self._request, "user", None)
        if not self.oob and not isinstance(user, User):
            return []
        return list(Stop.objects.filter(lifted_at__isnull=True).order_by("pk"))


def stop_banner(request: HttpRequest) -> dict[str, StopBanner]:
    return {"stop_banner": StopBanner(request)}


def stop_banner_html() -> str:
    """Render the banner for a page that is open."""
    return render_to_string("runs/_stop_banner.html", {"stop_banner": StopBanner()})
