"""The body of a request while it arrives: in memory, or a large one in a file."""

import tempfile
from collections.abc import Iterator
from typing import IO

from django.conf import settings

from execfabric.infra.disk import DiskFull
from execfabric.web.messages import Message

CHUNK = 64 * 1024


class RequestBody:
    """Bytes of a request; beyond the largest form they move to a temporary file."""

    def __init__(self) -> None:
        self._memory = bytearray()
        self._file: IO[bytes] | None = None
        self.size = 0

    @property
    def in_memory(self) -> int:
        return len(self._memory)

    @property
    def on_disk(self) -> int:
        return self.size - len(self._memory)

    def spills(self, chunk: bytes) -> bool:
        """Return True if the body is in a file once it has this part."""
        is_large = self.size + len(chunk) > _most_in_memory()
        return bool(chunk) and (self._file is not None or is_large)

    def append(self, chunk: bytes) -> None:
        """Add a part of the body.

        :raises DiskFull: if the temporary file cannot be written
        """
        try:
            if self.spills(chunk):
                self._spill(chunk)
            else:
                self._memory += chunk
        except OSError as error:
            raise DiskFull from error
        self.size += len(chunk)

    def _spill(self, chunk: bytes) -> None:
        if self._file is None:
            # Closed by `close`, because the body outlives this call.
            self._file = tempfile.TemporaryFile()  # noqa: SIM115
            self._file.write(self._memory)
            self._memory.clear()
        # A write to a file is a copy into the page cache: the loop does not wait for it.
        self._file.write(chunk)

    def messages(self) -> Iterator[Message]:
        """Return the body as ASGI messages."""
        if self._file is None:
            yield {"type": "http.request", "body": bytes(self._memory)}
            return
        self._file.seek(0)
        while chunk := self._file.read(CHUNK):
            yield {"type": "http.request", "body": chunk, "more_body": True}
        yield {"type": "http.request", "body": b""}

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def _most_in_memory() -> int:
    return settings.DATA_UPLOAD_MAX_MEMORY_SIZE
