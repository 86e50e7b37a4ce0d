"""The number of open gates that wait for the user, for every page."""

import hashlib
from collections.abc import Iterable
from functools import cached_property

from django.http import HttpRequest

from approvals import selectors, voters
from approvals.domain.policy import DEFAULT_GROUP
from approvals.models import Gate
from execfabric.identity.models import User
from execfabric.lib import clock
from execfabric.lib.rights import Right, rights_from


def stamp_of(gates: Iterable[Gate]) -> str:
    """Return a short digest of which gates these are, by which a page sees a change."""
    keys = "\n".join(str(gate.pk) for gate in gates)
    return hashlib.sha256(keys.encode()).hexdigest()[:16]


class InboxBadge:
    """The count beside "Approvals"; it queries only when a page draws it."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = request

    @property
    def is_live(self) -> bool:
        """Return True if gates can wait for the user."""
        user = self._user
        return user is not None and Right.DECIDE in rights_from(user.group_names)

    @property
    def is_listed(self) -> bool:
        """Return True if the navigation shows the approvals.

        Without a group that gates ask by default, only while one waits for the user.
        """
        user = self._user
        is_asked = user is not None and DEFAULT_GROUP in user.group_names
        return self.is_live and (is_asked or self.count > 0)

    @property
    def count(self) -> int:
        """Return the number of gates that wait for the user."""
        return len(self._gates)

    @property
    def stamp(self) -> str:
        """Return the digest of which gates these are."""
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
        voter = voters.signed_in(user)
        return selectors.inbox(by=user.actor(), at=clock.now(), mine=voter)


def inbox_badge(request: HttpRequest) -> dict[str, InboxBadge]:
    """Give every template the badge."""
    return {"inbox_badge": InboxBadge(request)}
