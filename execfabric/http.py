"""What pages and API share of HTTP: a request that is too large, a file as a response."""

from collections.abc import AsyncIterator

from asgiref.sync import sync_to_async
from django.conf import settings
from django.http import FileResponse

from execfabric.lib.refusal import Invalid


class RequestTooLarge(Invalid):
    """The request is larger than a request may be."""

    code = "request.too_large"

    def __init__(self) -> None:
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
        sentence = (
            f"A request carries at most {limit:,} bytes ({limit >> 20} MB);"
            f" this one has more."
        )
        super().__init__(sentence, limit=limit)


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
