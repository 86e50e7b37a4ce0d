"""What pages and API share of HTTP: a request that is too large, a file as a response."""

import base64
import hashlib
from collections.abc import AsyncIterator

from asgiref.sync import sync_to_async
from django.conf import settings
from django.http import FileResponse, HttpResponse
from django.utils.http import content_disposition_header

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


class BytesDownload(HttpResponse):
    """Exact bytes to be saved, never displayed, with their digest (RFC 9530)."""

    def __init__(self, body: bytes, *, name: str, content_type: str) -> None:
        super().__init__(body, content_type=content_type)
        disposition = content_disposition_header(as_attachment=True, filename=name)
        self["Content-Disposition"] = disposition or "attachment"
        self["Cache-Control"] = "no-store"
        self["X-Content-Type-Options"] = "nosniff"
        self["Repr-Digest"] = repr_digest(hashlib.sha256(body).digest())


def repr_digest(sha256: bytes) -> str:
    """Return the value of the header `Repr-Digest` for a SHA-256."""
    return f"sha-256=:{base64.b64encode(sha256).decode()}:"


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
