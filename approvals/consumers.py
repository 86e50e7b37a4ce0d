"""The socket of every page that shows how many gates wait for a person."""

from django.template.loader import render_to_string

from approvals import selectors
from execfabric import live
from execfabric.accounts.authority import Right, rights_of
from execfabric.console.stamps import stamp_of
from execfabric.lib import clock
from execfabric.lib.actor import Actor
from execfabric.web.sockets import BUSY_SPACING, Watcher


class InboxConsumer(Watcher):
    """Follows how many gates wait for one person, and which."""

    group = live.INBOX
    spacing = BUSY_SPACING
    _last = ""

    def may_watch(self, by: Actor) -> bool:
        return Right.DECIDE in rights_of(by)

    def look(self) -> str:
        gates = selectors.inbox(by=self.by, at=clock.now())
        context = {"count": len(gates), "stamp": stamp_of(gate.pk for gate in gates)}
        html = render_to_string("console/_inbox_frame.html", context)
        if html == self._last:
            return ""
        self._last = html
        return html

    def heartbeat(self) -> str:
        return self._last
