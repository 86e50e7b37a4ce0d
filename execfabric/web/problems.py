"""Problem details, request checks and downloads, for pages and the API."""

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

from execfabric.infra.disk import DiskFull
from execfabric.lib import canonical
from execfabric.lib.refusal import Invalid, Refusal, RefusalKind, Unavailable
from execfabric.web import request_id

REFUSED = re.compile(r"[\0\ud800-\udfff]")
"""Null characters and lone surrogates: Postgres cannot store them."""
PROBLEM = "application/problem+json"
API = "/api/"
STATUS = {
    RefusalKind.UNREADABLE: HTTPStatus.BAD_REQUEST,
    RefusalKind.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    RefusalKind.TOO_LARGE: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    RefusalKind.DENIED: HTTPStatus.FORBIDDEN,
    RefusalKind.MISSING: HTTPStatus.NOT_FOUND,
    RefusalKind.CONFLICT: HTTPStatus.CONFLICT,
    RefusalKind.INVALID: HTTPStatus.UNPROCESSABLE_ENTITY,
    RefusalKind.LIMITED: HTTPStatus.TOO_MANY_REQUESTS,
    RefusalKind.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
}


class RequestUnreadable(Invalid):
    """The request cannot be read, or contains text that cannot be stored."""

    code = "request.unreadable"
    kind = RefusalKind.UNREADABLE


class RequestTooLarge(Invalid):
    """The request is too large."""

    code = "request.too_large"
    kind = RefusalKind.TOO_LARGE

    def __init__(self, limit: int = settings.DATA_UPLOAD_MAX_MEMORY_SIZE) -> None:
        size = f"{limit >> 20} MB" if limit >> 20 else f"{limit >> 10} KB"
        sentence = f"The request is too large (max {limit:,} bytes, {size})."
        super().__init__(sentence, limit=limit)


class ServiceBusy(Unavailable):
    """The service is busy. Try again in a moment."""

    code = "service.busy"

    def __init__(self) -> None:
        super().__init__(retry_after=2)


class DatabaseAway(Unavailable):
    """The database is unavailable. Try again in a moment."""

    code = "service.database_unavailable"

    def __init__(self) -> None:
        super().__init__(retry_after=5)


def database_failure(error: Exception) -> Unavailable:
    disk_is_full = isinstance(error.__cause__, psycopg.errors.DiskFull)
    return DiskFull() if disk_is_full else DatabaseAway()


class Unexpected(Refusal):
    """An unexpected error occurred. Find the request id in the server log."""

    code = "server.unexpected"


class BytesDownload(HttpResponse):
    """A download of exact bytes, with their digest (RFC 9530)."""

    def __init__(self, body: bytes, *, name: str, content_type: str) -> None:
        super().__init__(body, content_type=content_type)
        disposition = content_disposition_header(as_attachment=True, filename=name)
        self["Content-Disposition"] = disposition or "attachment"
        self["Cache-Control"] = "no-store"
        self["X-Content-Type-Options"] = "nosniff"
        self["Repr-Digest"] = _repr_digest(hashlib.sha256(body).digest())


def json_download(value: Any, name: str) -> BytesDownload:
    body = canonical.dumps(value)
    return BytesDownload(body, name=name, content_type="application/json")


class FileDownload(FileResponse):
    """A download of a file, with its digest (RFC 9530).

    Under ASGI, Django would read a plain `FileResponse` into memory.
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
        chunks = iter(self)

        def next_chunk() -> bytes:
            return next(chunks, b"")

        while chunk := await sync_to_async(next_chunk)():
            yield chunk


class SandboxedFile(FileDownload):
    """A file that the browser renders without scripts, network and our origin.

    The policy is in the response, so it also holds if the address is opened directly.
    """

    POLICY = (
        "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:;"
        " font-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    )

    def __init__(self, file: "File[bytes]", *, sha256: str, content_type: str) -> None:
        super().__init__(file, name="", sha256=sha256)
        self["Content-Type"] = content_type
        self["Content-Disposition"] = "inline"
        self["Content-Security-Policy"] = self.POLICY
        self["X-Frame-Options"] = "SAMEORIGIN"
        self["Cross-Origin-Resource-Policy"] = "same-origin"
        self["Referrer-Policy"] = "no-referrer"
        self["Cache-Control"] = "no-store"


class FramedPdf(SandboxedFile):
    """A PDF file for the viewer of the browser, which does not run in a sandbox.

    The viewer is a process of its own and gives scripts in the file no access to pages.
    The type is fixed, so that the browser never takes the bytes for a web page.
    """

    POLICY = (
        "default-src 'none'; object-src 'self'; style-src 'unsafe-inline';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    )

    def __init__(self, file: "File[bytes]", *, sha256: str) -> None:
        super().__init__(file, sha256=sha256, content_type="application/pdf")


def _repr_digest(sha256: bytes) -> str:
    return f"sha-256=:{base64.b64encode(sha256).decode()}:"


def problem(refusal: Refusal, *, status: int | None = None) -> HttpResponse:
    """Return a refusal as RFC 9457 problem details."""
    title = (type(refusal).__doc__ or refusal.code).strip().splitlines()[0]
    code = status or STATUS[refusal.kind]
    body = {
        **to_jsonable_python(refusal.details, fallback=str),
        "type": f"urn:execfabric:problem:{refusal.code}",
        "title": title,
        "status": int(code),
        "code": refusal.code,
        "detail": refusal.message,
    }
    if request := request_id.current():
        body["request_id"] = request
    response = HttpResponse(json.dumps(body), status=code, content_type=PROBLEM)
    if code == HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = 'Bearer realm="execfabric"'
    if seconds := refusal.details.get("retry_after"):
        response["Retry-After"] = str(seconds)
    return response


def check_texts(name: str, value: Any) -> None:
    """Refuse null characters and lone surrogates anywhere in a value.

    `name` is the source of the value; it is empty for the body.

    :raises RequestUnreadable: with the position of the first one
    """
    stack = [(name, value)]
    while stack:
        path, item = stack.pop()
        if isinstance(item, dict):
            for key, inner in item.items():
                _check_text(path, key)
                stack.append((f"{path}.{key}" if path else key, inner))
        elif isinstance(item, list):
            stack.extend((path, inner) for inner in item)
        elif isinstance(item, str):
            _check_text(path, item)


def _check_text(path: str, text: str) -> None:
    match = REFUSED.search(text)
    if match is None:
        return
    at = match.start()
    line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
    character = "a null character" if text[at] == "\0" else "a lone surrogate"
    raise RequestUnreadable(
        f"{path or 'name'}, line {line}, column {column}: {character} is not allowed.",
        line=line,
        column=column,
    )
