"""Calling handlers as a runner would, but in the test's own process."""

import contextlib
import hashlib
import os
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from orchestration.skills import installed
from orchestration.skills.domain.contract import ActionContract
from orchestration.skills.domain.outcome import Call, File, Outcome, Succeeded
from orchestration.skills.execution import schema_problems as problems
from orchestration.skills.execution import validate_output

SLEEP = f"sleep 1h {os.getpid()}s"
"""A command that only the programs under test start, on this host."""


def sleeping() -> list[str]:
    """Return the ids of the processes that run `SLEEP`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if entry.read_bytes().replace(b"\0", b" ").strip() == SLEEP.encode():
                found.append(entry.parent.name)
    return found


def action(name: str) -> ActionContract:
    """Return the contract of `skill.action`."""
    slug, _, verb = name.partition(".")
    skill = next(item for item in installed.contracts() if item.slug == slug)
    found = skill.action(verb)
    assert found is not None
    return found


class Bench:
    """Calls handlers, each time in a new folder, and checks both schemas."""

    def __init__(self, folder: Path, config: dict[str, Any] | None = None) -> None:
        self.folder = folder
        self.config = config or {}
        self.said: list[str] = []
        self._calls = 0

    def call(self, params: dict[str, Any], *, key: str = "") -> Call:
        self._calls += 1
        workdir = self.folder / f"call-{self._calls}"
        workdir.mkdir(parents=True)
        return Call(
            params=params,
            config=self.config,
            workdir=workdir,
            idempotency_key=key or f"key-{self._calls}",
            deadline_s=30,
            log=self.said.append,
        )

    def run(self, name: str, params: dict[str, Any], *, key: str = "") -> Outcome:
        contract = action(name)
        assert problems(contract.input_schema, plain(params)) == []
        registered = installed.find(contract.handler)
        assert registered is not None
        call = self.call(params, key=key)
        return validate_output(contract, registered.run(call), call.workdir)

    def good(self, name: str, params: dict[str, Any], *, key: str = "") -> Succeeded:
        outcome = self.run(name, params, key=key)
        assert isinstance(outcome, Succeeded), outcome
        return outcome

    def code(self, name: str, params: dict[str, Any], *, key: str = "") -> str:
        outcome = self.run(name, params, key=key)
        assert not isinstance(outcome, Succeeded), outcome
        return outcome.code

    def dry_run(self, name: str, params: dict[str, Any]) -> Any:
        registered = installed.find(action(name).handler)
        assert registered is not None
        assert registered.dry_run is not None
        return registered.dry_run(self.call(params))

    def check(self, name: str, params: dict[str, Any]) -> list[str]:
        registered = installed.find(action(name).handler)
        assert registered is not None
        assert registered.check is not None
        return [problem.code for problem in registered.check(self.call(params))]


def as_file(path: Path, content: bytes | str | None = None, media: str = "") -> File:
    """Return a file as an earlier step passes it on."""
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    body = path.read_bytes()
    digest = hashlib.sha256(body).hexdigest()
    return File(path, path.name, digest, len(body), media or "text/csv")


def reference(file: File) -> dict[str, Any]:
    """Return the reference to a file in params."""
    known = {"sha256": file.sha256, "name": file.name, "size": file.size}
    return {"$file": {**known, "media_type": file.media_type}}


def plain(value: Any) -> Any:
    """Params with files put back to references, as schemas see them."""
    if isinstance(value, File):
        return reference(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value


@contextmanager
def http_server(
    answer: Callable[[BaseHTTPRequestHandler, bytes], None],
    tls: ssl.SSLContext | None = None,
) -> Iterator[str]:
    """Start a server on loopback and return its address."""

    class Handler(BaseHTTPRequestHandler):
        def serve(self) -> None:
            size = int(self.headers.get("Content-Length") or 0)
            answer(self, self.rfile.read(size))

        do_GET = do_POST = do_PUT = do_DELETE = serve  # noqa: N815 - fixed by the library

        def handle(self) -> None:
            with contextlib.suppress(OSError):
                super().handle()

        def log_message(self, *args: Any) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def reply(
    request: BaseHTTPRequestHandler,
    status: int,
    body: bytes = b"",
    **headers: str,
) -> None:
    """Answer a request of `http_server`."""
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name.replace("_", "-"), value)
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)
