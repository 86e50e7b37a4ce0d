"""The number of open gates that wait for the user, for every page."""

import hashlib
from collections.abc import Iterable
from functools import cached_property

from django.http import HttpRequest

from approvals import selectors
from approvals.domain.eligibility import Standing
from approvals.domain.policy import DEFAULT_GROUP
from approvals.models import Gate
from execfabric.identity.models import User
from execfabric.lib import clock
from execfabric.lib.rights import Right, rights_from


def stamp_of(gates: Iterable[Gate]) -> str:
    """Return a short digest of the gates, by which a page detects a change."""
    keys = "\n".join(str(gate.pk) for gate in gates)
    return hashlib.sha256(keys.encode()).hexdigest()[:16]


class InboxBadge:
    """The count next to "Approvals"; queried only when a page shows it."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    @property
    def is_live(self) -> bool:
        user = self._user
        return user is not None and Right.DECIDE in rights_from(user.group_names)

    @property
    def is_listed(self) -> bool:
        """Return True if the navigation shows the approvals.

        Operators always see it; other approvers see it while a gate waits for them.
        """
        groups = self._user.group_names if self._user else ()
        return self.is_live and (DEFAULT_GROUP in groups or self.count > 0)

    @property
    def count(self) -> int:
        return len(self._gates)

    @property
    def stamp(self) -> str:
        return stamp_of(self._gates)

    @cached_property
    def _user(self) -> User | None:
        # Only when drawn: an error page must not query a database that is away.
        user = getattr(self._request, "user", None)
        return user if isinstance(user, User) else None

    @cached_property
    def _gates(self) -> list[Gate]:
        user = self._user
        if user is None or not self.is_live:
            return []
        mine = Standing(user.username, user.group_names)
        return selectors.inbox(by=user.actor(), at=clock.now(), mine=mine)


def inbox_badge(request: HttpRequest) -> dict[str, InboxBadge]:
    return {"inbox_badge": InboxBadge(request)}
