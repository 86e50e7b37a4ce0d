"""A file as a response, read piece by piece under WSGI and ASGI alike."""

from collections.abc import AsyncIterator

from asgiref.sync import sync_to_async
from django.http import FileResponse


class FileDownload(FileResponse):
    """A file to be saved.

    Django reads a plain `FileResponse` into memory as a whole when it is served by
    ASGI, and warns of it.
    """

    async def __aiter__(self) -> AsyncIterator[bytes]:
        pieces = iter(self)

        def following() -> bytes:
            return next(pieces, b"")

        while piece := await sync_to_async(following)():
            yield piece
