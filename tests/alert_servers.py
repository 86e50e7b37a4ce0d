"""A mail server and a webhook on real sockets, for tests of alerts."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Inbox:
    """What a server has received, and how it answers."""

    messages: list[dict[str, Any]] = field(default_factory=list)
    refuses: bool = False
    port: int = 0


class _Smtp(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        inbox: Inbox = self.server.inbox  # type: ignore[attr-defined]
        to: list[str] = []
        self._say("220 test")
        while line := self.rfile.readline().decode().strip():
            word = line[:4].upper()
            if word in {"EHLO", "HELO"}:
                self._say("250 test")
            elif word == "MAIL" and inbox.refuses:
                self._say("451 Try again later")
            elif word == "RCPT":
                to.append(line.partition("<")[2].rstrip(">"))
                self._say("250 ok")
            elif word == "DATA":
                self._say("354 go on")
                body = b""
                while (part := self.rfile.readline()) not in {b".\r\n", b""}:
                    body += part
                inbox.messages.append({"to": sorted(to), "body": body.decode()})
                self._say("250 ok")
            elif word == "QUIT":
                self._say("221 bye")
                return
            else:
                self._say("250 ok")

    def _say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


class _Hook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        inbox: Inbox = self.server.inbox  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not inbox.refuses:
            key = self.headers["Idempotency-Key"]
            inbox.messages.append({"key": key, "body": body.decode()})
        self.send_response(503 if inbox.refuses else 204)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[Inbox]:
    inbox = Inbox(port=server.server_address[1])
    server.inbox = inbox  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield inbox
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def mail_server() -> Iterator[Inbox]:
    """Serve SMTP on a free port."""
    with _serving(socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Smtp)) as inbox:
        yield inbox


@contextmanager
def hook_server() -> Iterator[Inbox]:
    """Serve a webhook on a free port."""
    with _serving(ThreadingHTTPServer(("127.0.0.1", 0), _Hook)) as inbox:
        yield inbox
