"""The socket of a run page."""

from uuid import UUID

from django.http import QueryDict

from execfabric.lib import clock
from execfabric.lib.actor import Actor
from execfabric.web.sockets import BUSY_SPACING, SPACING, Watcher
from orchestration.runs import live, selectors
from orchestration.runs.context import stop_banner_html
from orchestration.runs.pages import frames

BUSY = 300
"""Events in one frame above which the next frame is delayed longer."""


class RunConsumer(Watcher):
    """Sends the changes of one run after a cursor."""

    async def connect(self) -> None:
        self.run_id: UUID = self.scope["url_route"]["kwargs"]["pk"]
        self.group = live.group(self.run_id)
        asked = QueryDict(self.scope["query_string"])
        self.cursor = frames.parse(asked.get("after", ""), asked.get("log", ""))
        self.page = frames.LivePage.of(self.run_id, asked)
        self._sent: dict[str, str] = {}
        """The last HTML that was sent for each part of the page's head."""
        self._banner = ""
        """The HTML of the last banner about stops, which no event of the run tells."""
        await super().connect()

    def may_watch(self, by: Actor) -> bool:
        return selectors.visible_to(by).filter(pk=self.run_id).exists()

    def look(self) -> str:
        """Return what has changed, with the banner about stops if that has."""
        html, banner = self._frame(), stop_banner_html()
        is_first, is_new = not self._banner, banner != self._banner
        self._banner = banner
        # Without a frame the first banner goes with the heartbeat, which is due.
        return banner + html if is_new and (html or not is_first) else html

    def _frame(self) -> str:
        frame = frames.since(self.page, self.cursor, by=self.by, at=clock.now())
        if frame is None:
            return ""
        self.cursor = frame.cursor
        self.spacing = BUSY_SPACING if frame.events > BUSY else SPACING
        html = frame.besides(self._sent)
        heads = frames.HEADS & frame.parts.keys()
        self._sent |= {place: frame.parts[place] for place in heads}
        return html

    def heartbeat(self) -> str:
        return self._banner + frames.cursor_html(self.cursor, start=self.cursor)
