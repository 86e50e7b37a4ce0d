"""The notify skill against a mail server and a web server on loopback."""

import base64
import hashlib
import hmac
import json
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestration.skills import installed
from orchestration.skills.domain.outcome import Failed, Retry, Unknown
from tests.skill_calls import Bench, as_file, http_server, reply


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "calls", {"allow_private": True})


class MailServer(socketserver.ThreadingTCPServer):
    """What it was sent, and what it answers otherwise than usual."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Mail)
        self.mails: list[str] = []
        self.answers: dict[str, str] = {}


class Mail(socketserver.StreamRequestHandler):
    """One SMTP session: as much of RFC 5321 as a client needs."""

    server: MailServer

    def handle(self) -> None:
        self.say("220 test")
        while line := self.rfile.readline().decode().strip():
            verb = line.split(" ")[0].upper()
            answer = self.server.answers.get(verb, "250 ok")
            if verb == "RCPT" and "unknown" in line:
                answer = "550 no such user"
            if verb == "DATA" and answer.startswith("250"):
                self.say("354 go on")
                self.take()
                answer = self.server.answers.get("END", "250 taken")
            if answer == "hang up":
                return
            self.say(answer)

    def take(self) -> None:
        lines = []
        while (line := self.rfile.readline()) != b".\r\n":
            lines.append(line.decode())
        self.server.mails.append("".join(lines))

    def say(self, text: str) -> None:
        self.wfile.write(f"{text}\r\n".encode())


@pytest.fixture
def mail_server() -> Iterator[Any]:
    server = MailServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def mailing(bench: Bench, mail_server: Any) -> Bench:
    host, port = mail_server.server_address
    bench.config = {"host": host, "port": port, "from": "fabric@example.com"}
    return bench


MAIL = {"to": ["ops@example.com"], "subject": "Sales ü", "text": "See the report.\n"}


def test_a_mail_arrives_with_its_file_and_the_same_id_for_every_try(
    mailing, mail_server, tmp_path
):
    report = as_file(tmp_path / "report.html", "<p>hi</p>", media="text/html")
    params = {**MAIL, "attachments": [report]}

    first = mailing.good("notify.email", params, key="a")
    again = mailing.good("notify.email", params, key="a")

    assert first.output == again.output
    assert first.output["accepted"] == ["ops@example.com"]
    mail = mail_server.mails[0]
    assert f"Message-ID: {first.output['message_id']}" in mail
    assert 'filename="report.html"' in mail


@pytest.mark.parametrize(
    ("answers", "kind", "code"),
    [
        ({"RCPT": "550 no"}, Failed, "notify.refused"),
        ({"RCPT": "450 later"}, Retry, "notify.refused"),
        ({"MAIL": "452 full"}, Retry, "notify.refused"),
        ({"DATA": "554 no"}, Failed, "notify.refused"),
        ({"END": "554 spam"}, Failed, "notify.refused"),
        ({"END": "hang up"}, Unknown, "notify.outcome_unknown"),
    ],
)
def test_a_mail_server_that_does_not_take_it(mailing, mail_server, answers, kind, code):
    mail_server.answers.update(answers)

    outcome = mailing.run("notify.email", MAIL)

    assert isinstance(outcome, kind)
    assert outcome.code == code


def test_a_mail_that_only_one_of_two_gets_is_a_failure_that_names_both(mailing):
    params = {**MAIL, "to": ["ops@example.com", "unknown@example.com"]}

    outcome = mailing.run("notify.email", params)

    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.before_effect) == ("notify.partly_refused", False)
    assert "Sent the e-mail to ops@example.com only" in outcome.message
    assert "unknown@example.com (550" in outcome.message


def test_recipients_outside_the_allowed_domains_are_refused_before_sending(
    mailing, mail_server
):
    mailing.config["domains"] = ["example.com"]
    params = {**MAIL, "to": ["ops@example.com", "x@evil.example"]}

    assert mailing.code("notify.email", params) == "notify.recipient"
    assert mailing.check("notify.email", params) == ["notify.recipient"]
    assert mail_server.mails == []


def test_a_line_break_cannot_add_a_header(mailing, mail_server):
    registered = installed.find("notify.email@1")
    assert registered is not None
    call = mailing.call({**MAIL, "subject": "x\r\nBcc: evil@evil.example"})

    outcome = registered.run(call)

    assert isinstance(outcome, Failed)
    assert outcome.code == "notify.message"
    assert mail_server.mails == []


def test_no_mail_server_is_tried_later(bench):
    bench.config = {"host": "127.0.0.1", "port": 1, "from": "a@example.com"}

    assert isinstance(bench.run("notify.email", MAIL), Retry)
    bench.config = {}
    assert bench.code("notify.email", MAIL) == "notify.not_configured"


def test_a_webhook_is_signed_so_that_its_receiver_can_tell(bench):
    key = b"a signing key of some length"
    bench.config["secret"] = "whsec_" + base64.b64encode(key).decode()
    got: list[Any] = []

    def receive(request: Any, body: bytes) -> None:
        got.append((dict(request.headers.items()), body))
        reply(request, 204)

    with http_server(receive) as base:
        params = {"url": base, "type": "report.published", "data": {"n": 1}}
        outcome = bench.good("notify.webhook", params)

    headers, body = got[0]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert json.loads(body) == {"type": "report.published", "data": {"n": 1}}
    assert outcome.output["webhook_id"] == headers["webhook-id"]


def test_a_webhook_to_a_private_address_is_refused(bench):
    bench.config = {}
    params = {"url": "http://169.254.169.254/", "type": "t", "data": None}

    assert bench.code("notify.webhook", params) == "outbound.denied"
