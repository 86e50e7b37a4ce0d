"""Time limits for requests and responses, which uvicorn does not have.

`uvicorn --http execfabric.web.protocol:TimedProtocol`
"""

import asyncio
import os

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

REQUEST_SECONDS = float(os.environ.get("EXECFABRIC_REQUEST_SECONDS") or 30)
"""Seconds in which a request must arrive, headers and body."""
STALLED_SECONDS = 30.0
"""Seconds after which a client must read more of its response."""


class TimedProtocol(HttpToolsProtocol):
    """Close the connection of a client that stops sending or reading."""

    _reading: asyncio.TimerHandle | None = None
    _writing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time limit of the first request."""
        super().connection_made(transport)
        self._reading = self.loop.call_later(REQUEST_SECONDS, transport.close)

    def on_message_begin(self) -> None:
        """Start the time limit of a later request on the same connection."""
        super().on_message_begin()
        if self._reading is None:
            self._reading = self.loop.call_later(REQUEST_SECONDS, self.transport.close)

    def on_message_complete(self) -> None:
        self._stop_reading()
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """Stop the time limit; the websocket has its own."""
        self._stop_reading()
        super().handle_websocket_upgrade()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._writing = self.loop.call_later(STALLED_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        self._stop_writing()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_reading()
        self._stop_writing()
        super().connection_lost(exc)

    def _stop_reading(self) -> None:
        if self._reading:
            self._reading.cancel()
            self._reading = None

    def _stop_writing(self) -> None:
        if self._writing:
            self._writing.cancel()
            self._writing = None
