"""A way to Postgres that loses commits: the request of one, or only its answer.

The parts of the chaos test connect through it. Cutting connections at random moments
rarely meets the moment between a commit and its answer; this meets it each time.
"""

import asyncio
import contextlib
import re
import threading
from collections import Counter
from dataclasses import dataclass, field

CHUNK = 65536
COMMIT = re.compile(rb"\bCOMMIT\b|runs_commit")
PREPARED = re.compile(rb"(_pg3_\d+)\0[^\0]*(?:\bCOMMIT\b|runs_commit)")
"""A commit that is prepared goes by this name from then on."""
BOUND = re.compile(rb"B.{4}\0(_pg3_\d+)\0", re.DOTALL)

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class _Session:
    """What is known of one connection."""

    names: set[bytes] = field(default_factory=set)
    committing: bool = False

    def sees(self, data: bytes) -> bool:
        """Return True if the client asks for a commit."""
        self.names.update(PREPARED.findall(data))
        self.committing = bool(COMMIT.search(data)) or not self.names.isdisjoint(
            BOUND.findall(data)
        )
        return self.committing


class Proxy:
    """Forwards connections; loses one commit, or its answer, whenever it is armed."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._armed: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self.port = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Listen on a free port of this host."""
        self._thread.start()
        self._ready.wait()

    def lose(self, what: str) -> None:
        """Lose the next commit: its "request", or its "answer"."""
        self._armed[what] = 1

    def disarm(self) -> None:
        """Lose nothing from now on."""
        self._armed.clear()

    def _run(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(self._serve())

    async def _serve(self) -> None:
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await server.serve_forever()

    async def _connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        session = _Session()
        with contextlib.suppress(OSError):
            server = await asyncio.open_connection(*self._target)
            await asyncio.gather(
                self._pass_on(session, "request", reader, server[1], writer),
                self._pass_on(session, "answer", server[0], writer, server[1]),
                return_exceptions=True,
            )
        writer.close()

    async def _pass_on(
        self,
        session: _Session,
        what: str,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        back: asyncio.StreamWriter,
    ) -> None:
        try:
            while data := await source.read(CHUNK):
                is_commit = (
                    session.sees(data) if what == "request" else session.committing
                )
                if is_commit and self._armed[what]:
                    self._armed[what] = 0
                    self.done[what] += 1
                    back.transport.abort()
                    target.transport.abort()
                    return
                target.write(data)
                await target.drain()
        finally:
            target.close()
