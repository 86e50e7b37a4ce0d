"""A way to Postgres that loses commits: the request of one, or only its answer.

It can also leave a connection half open: neither end hears of the other any more.

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
WRITES, COMMITTED = b"runs_commit", b"COMMIT"
COMMIT = re.compile(WRITES + rb"|\b" + COMMITTED + rb"\b")
PREPARED = re.compile(
    rb"(_pg3_\d+)\x00[^\x00]*?(" + WRITES + rb"|\b" + COMMITTED + rb"\b)"
)
"""A statement that is prepared goes by this name from then on."""
BOUND = re.compile(rb"B.{4}\x00(_pg3_\d+)\x00", re.DOTALL)
READY = re.compile(rb"Z\x00\x00\x00\x05([ITE])")
SILENCE_S = 6.0
"""How long a connection is half open before it is cut."""
REFUSED = re.compile(rb"XF00[12]|D\x00\x00\x00\x0a\x00\x01\xff\xff\xff\xff")
"""A row in another state, or a null for a stream that has moved on."""


@dataclass
class _Session:
    """What is known of one connection."""

    done: Counter[str]
    names: dict[bytes, bytes] = field(default_factory=dict)
    committing: bool = False
    writing: str = ""
    """Whether a change of a run is on its way: "fast" for one without a lock."""
    state: bytes = b"I"

    def asks(self, data: bytes) -> bool:
        """Return True if the client asks for a commit."""
        self.names.update(PREPARED.findall(data))
        meant = {self.names[name] for name in BOUND.findall(data) if name in self.names}
        meant |= set(COMMIT.findall(data))
        if WRITES in meant:
            is_fast = self.state == b"I" and b"BEGIN" not in data
            self.writing = "fast" if is_fast else "locked"
        # Inside a transaction it is written with the commit, which comes later.
        self.committing = COMMITTED in meant or self.writing == "fast"
        return self.committing

    def answers(self, data: bytes) -> bool:
        """Return True if the server answers a commit."""
        if self.writing:
            refused = " refused" if REFUSED.search(data) else ""
            self.done[self.writing + refused] += 1
            self.writing = ""
        self.state = (READY.findall(data) or [self.state])[-1]
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
        """Lose the next commit: its "request", its "answer", or either by "silence"."""
        self._armed[what] = 1

    def changes(self) -> dict[str, int]:
        """Count the changes of runs: written without a lock, or under it, or refused."""
        kinds = ("fast", "fast refused", "locked", "locked refused")
        return {kind: self.done[kind] for kind in kinds}

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
        session = _Session(self.done)
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
                look = session.asks if what == "request" else session.answers
                is_commit = look(data)
                if is_commit and self._armed["silence"]:
                    self._armed["silence"] = 0
                    self.done["silence"] += 1
                    await asyncio.sleep(SILENCE_S)
                    back.transport.abort()
                    target.transport.abort()
                    return
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
