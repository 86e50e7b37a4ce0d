"""The active stops of the dispatch, for every page."""

from functools import cached_property

from django.http import HttpRequest

from execfabric.identity.models import User
from orchestration.runs.models import Stop

SHOWN = 3
"""Stops that the banner names."""


class StopBanner:
    """The banner about active stops; queried only when a page shows it."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    @property
    def shown(self) -> list[Stop]:
        return self._active[:SHOWN]

    @property
    def others(self) -> int:
        return len(self._active) - len(self.shown)

    @cached_property
    def _active(self) -> list[Stop]:
        # Only for a user, like the rest of the frame of a page.
        if not isinstance(getattr(self._request, "user", None), User):
            return []
        return list(Stop.objects.filter(lifted_at__isnull=True).order_by("pk"))


def stop_banner(request: HttpRequest) -> dict[str, StopBanner]:
    return {"stop_banner": StopBanner(request)}
