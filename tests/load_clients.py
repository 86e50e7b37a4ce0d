"""Many HTTP clients at once, written on sockets: cheap enough to start a thousand."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

PATIENCE = 120.0
"""Seconds after which a client gives up."""


@dataclass(frozen=True)
class Answer:
    """What came back; status 0 when the connection ended without an answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Site:
    """One web server on the loopback address."""

    port: int

    def get(self, path: str, **headers: str) -> Answer:
        """Send one GET request."""
        return asyncio.run(self.send(path, headers))

    def burst(self, paths: Iterable[tuple[str, Mapping[str, str]]]) -> Counter[int]:
        """Send all requests at once; count the status codes of the answers."""

        async def all_of_them() -> list[Answer]:
            return await asyncio.gather(
                *(self.send(path, headers) for path, headers in paths)
            )

        return Counter(answer.status for answer in asyncio.run(all_of_them()))

    async def send(
        self, path: str, headers: Mapping[str, str], *, method: str = "GET"
    ) -> Answer:
        """Send one request on a connection of its own."""
        try:
            async with asyncio.timeout(PATIENCE):
                reader, writer = await self.connect()
                writer.write(self.head(path, headers, method=method))
                raw = await reader.read()
                writer.close()
        except (OSError, TimeoutError):
            return Answer(0, {}, b"")
        return _parsed(raw)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection and send nothing."""
        return await asyncio.open_connection("127.0.0.1", self.port)

    def head(
        self, path: str, headers: Mapping[str, str], *, method: str = "GET"
    ) -> bytes:
        """Return the first line and the headers of a request."""
        lines = [f"{method} {path} HTTP/1.1", f"host: 127.0.0.1:{self.port}"]
        lines += [f"{name.replace('_', '-')}: {text}" for name, text in headers.items()]
        return "\r\n".join([*lines, "connection: close", "", ""]).encode()


def _parsed(raw: bytes) -> Answer:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    if not first:
        return Answer(0, {}, b"")
    pairs = (line.partition(": ") for line in lines)
    return Answer(
        int(first.split()[1]), {name.lower(): text for name, _, text in pairs}, body
    )
