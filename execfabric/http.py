"""What pages and API share of HTTP: problems, refused requests, files as a response."""

import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

import psycopg
from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.files import File
from django.http import FileResponse, HttpResponse
from django.utils.http import content_disposition_header
from pydantic_core import to_jsonable_python

from execfabric.accounts.errors import NotSignedIn
from execfabric.disk import DiskFull
from execfabric.lib import canonical
from execfabric.lib.refusal import Invalid, Refusal, RefusalKind, Unavailable

REFUSED = re.compile(r"[\0\ud800-\udfff]")
"""Null characters and lone surrogates: Postgres cannot store them."""
PROBLEM = "application/problem+json"
STATUS = {
    RefusalKind.DENIED: HTTPStatus.FORBIDDEN,
    RefusalKind.MISSING: HTTPStatus.NOT_FOUND,
    RefusalKind.CONFLICT: HTTPStatus.CONFLICT,
    RefusalKind.INVALID: HTTPStatus.UNPROCESSABLE_ENTITY,
    RefusalKind.LIMITED: HTTPStatus.TOO_MANY_REQUESTS,
    RefusalKind.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
}


class Unreadable(Invalid):
    """The request cannot be read, or holds text that cannot be stored."""

    code = "request.unreadable"


class RequestTooLarge(Invalid):
    """The request is larger than a request may be."""

    code = "request.too_large"

    def __init__(self, limit: int = settings.DATA_UPLOAD_MAX_MEMORY_SIZE) -> None:
        size = f"{limit >> 20} MB" if limit >> 20 else f"{limit >> 10} KB"
        sentence = (
            f"A request carries at most {limit:,} bytes ({size}); this one has more."
        )
        super().__init__(sentence, limit=limit)


class ServiceBusy(Unavailable):
    """The service has too many requests at once. Try again in a moment."""

    code = "service.busy"

    def __init__(self) -> None:
        super().__init__(retry_after=2)


class DatabaseAway(Unavailable):
    """The database does not answer. Try again in a moment."""

    code = "service.database_unavailable"

    def __init__(self) -> None:
        super().__init__(retry_after=5)


def database_failure(error: Exception) -> Unavailable:
    """Return the refusal that says why the database could not do it."""
    full = isinstance(error.__cause__, psycopg.errors.DiskFull)
    return DiskFull() if full else DatabaseAway()


class BytesDownload(HttpResponse):
    """Exact bytes to be saved, never displayed, with their digest (RFC 9530)."""

    def __init__(self, body: bytes, *, name: str, content_type: str) -> None:
        super().__init__(body, content_type=content_type)
        disposition = content_disposition_header(as_attachment=True, filename=name)
        self["Content-Disposition"] = disposition or "attachment"
        self["Cache-Control"] = "no-store"
        self["X-Content-Type-Options"] = "nosniff"
        self["Repr-Digest"] = _repr_digest(hashlib.sha256(body).digest())


def json_download(value: Any, name: str) -> BytesDownload:
    """Return a value as canonical JSON to be saved."""
    body = canonical.dumps(value)
    return BytesDownload(body, name=name, content_type="application/json")


class FileDownload(FileResponse):
    """A file to be saved, never displayed, with its digest (RFC 9530).

    Django reads a plain `FileResponse` into memory as a whole when it is served by
    ASGI, and warns of it.
    """

    def __init__(self, file: "File[bytes]", *, name: str, sha256: str) -> None:
        super().__init__(
            file,
            as_attachment=True,
            filename=name,
            content_type="application/octet-stream",
        )
        self["X-Content-Type-Options"] = "nosniff"
        self["Repr-Digest"] = _repr_digest(bytes.fromhex(sha256))

    async def __aiter__(self) -> AsyncIterator[bytes]:
        pieces = iter(self)

        def following() -> bytes:
            return next(pieces, b"")

        while piece := await sync_to_async(following)():
            yield piece


def _repr_digest(sha256: bytes) -> str:
    return f"sha-256=:{base64.b64encode(sha256).decode()}:"


def problem(refusal: Refusal, *, status: int | None = None) -> HttpResponse:
    """Return a refusal as RFC 9457 problem details."""
    title = (type(refusal).__doc__ or refusal.code).strip().splitlines()[0]
    code = status or _status(refusal)
    body = {
        **to_jsonable_python(refusal.details, fallback=str),
        "type": f"urn:execfabric:problem:{refusal.code}",
        "title": title,
        "status": int(code),
        "code": refusal.code,
        "detail": refusal.message,
    }
    response = HttpResponse(json.dumps(body), status=code, content_type=PROBLEM)
    if code == HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = 'Bearer realm="execfabric"'
    if seconds := refusal.details.get("retry_after"):
        response["Retry-After"] = str(seconds)
    return response


def check_texts(name: str, value: Any) -> None:
    """Refuse null characters and lone surrogates anywhere in a value.

    `name` says where the value is from, and is empty for the body as a whole.

    :raises Unreadable: with the place of the first one
    """
    waiting = [(name, value)]
    while waiting:
        where, item = waiting.pop()
        if isinstance(item, dict):
            for key, inner in item.items():
                _check_text(where, key)
                waiting.append((f"{where}.{key}" if where else key, inner))
        elif isinstance(item, list):
            waiting.extend((where, inner) for inner in item)
        elif isinstance(item, str):
            _check_text(where, item)


def _check_text(where: str, text: str) -> None:
    found = REFUSED.search(text)
    if found is None:
        return
    at = found.start()
    line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
    what = "a null character" if text[at] == "\0" else "a lone surrogate"
    raise Unreadable(
        f"{where or 'name'}, line {line}, column {column}: {what} is not allowed.",
        line=line,
        column=column,
    )


def _status(refusal: Refusal) -> HTTPStatus:
    if isinstance(refusal, NotSignedIn):
        return HTTPStatus.UNAUTHORIZED
    return STATUS[refusal.kind]
