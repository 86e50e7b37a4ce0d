"""The websocket that keeps the number of pending approvals current."""

from django.template.loader import render_to_string

from approvals import selectors
from approvals.context import stamp_of
from execfabric.identity.authority import rights_of
from execfabric.infra import live
from execfabric.lib import clock
from execfabric.lib.actor import Actor
from execfabric.lib.rights import Right
from execfabric.web.sockets import BUSY_SPACING, Watcher


class InboxConsumer(Watcher):
    """Sends the number and the digest of the gates that wait for the user."""

    group = live.INBOX
    spacing = BUSY_SPACING
    _last = ""

    def may_watch(self, by: Actor) -> bool:
        return Right.DECIDE in rights_of(by)

    def look(self) -> str:
        gates = selectors.inbox(by=self.by, at=clock.now())
        context = {"count": len(gates), "stamp": stamp_of(gates)}
        html = render_to_string("web/_inbox_frame.html", context)
        if html == self._last:
            return ""
        self._last = html
        return html

    def heartbeat(self) -> str:
        return self._last
