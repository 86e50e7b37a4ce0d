"""The skills that speak to other systems, against small servers on loopback."""

import base64
import hashlib
import hmac
import json
import re
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestration.skills import builtin
from orchestration.skills.domain.outcome import DryRun, Failed, Retry, Succeeded
from orchestration.skills.execution import CallKind, Runner, WireCall
from tests.skill_calls import Bench, as_file, http_server, reply


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "calls", {"allow_private": True})


# http


def echo(request: Any, body: bytes) -> None:
    seen = {
        "method": request.command,
        "path": request.path,
        "headers": {key.lower(): value for key, value in request.headers.items()},
        "body": body.decode(),
    }
    reply(request, 200, json.dumps(seen).encode(), Content_Type="application/json")


def test_a_request_carries_its_key_and_its_answer_becomes_the_output(bench):
    with http_server(echo) as base:
        params = {
            "method": "POST",
            "url": f"{base}/x?y=1",
            "json": {"a": 1},
            "save": True,
        }
        first = bench.good("http.request", params, key="a")
        again = bench.good("http.request", params, key="a")

    seen = first.output["json"]
    assert (seen["method"], seen["path"], seen["body"]) == (
        "POST",
        "/x?y=1",
        '{"a": 1}',
    )
    assert (
        seen["headers"]["idempotency-key"]
        == again.output["json"]["headers"]["idempotency-key"]
    )
    assert json.loads(first.files["response"].read_bytes()) == seen


def test_loopback_is_refused_unless_configured(bench):
    bench.config = {}
    with http_server(echo) as base:
        assert bench.code("http.request", {"url": base}) == "outbound.denied"
        bench.config = {"allow_hosts": [base.removeprefix("http://")]}
        assert bench.good("http.request", {"url": base}).output["status"] == 200


@pytest.mark.parametrize(
    ("method", "status", "kind", "code"),
    [
        ("GET", 404, Failed, "http.status"),
        ("GET", 500, Retry, "http.busy"),
        ("POST", 500, Failed, "http.status"),
        ("POST", 503, Retry, "http.busy"),
        ("POST", 429, Retry, "http.busy"),
        ("POST", 302, Failed, "http.status"),
    ],
)
def test_an_answer_that_was_not_expected(bench, method, status, kind, code):
    with http_server(
        lambda request, body: reply(request, status, Location="/x")
    ) as base:
        outcome = bench.run("http.request", {"method": method, "url": base})
        expected = bench.run(
            "http.request", {"method": method, "url": base, "expect": [status]}
        )

    assert isinstance(outcome, kind)
    assert outcome.code == code
    assert isinstance(expected, Succeeded)


@pytest.mark.parametrize(
    ("method", "kind", "code"),
    [("GET", Retry, "http.no_answer"), ("POST", Failed, "http.outcome_unknown")],
)
def test_a_lost_answer_is_unknown_unless_asking_again_is_harmless(
    bench, method, kind, code
):
    with http_server(lambda request, body: request.connection.close()) as base:
        outcome = bench.run("http.request", {"method": method, "url": base})

    assert isinstance(outcome, kind)
    assert outcome.code == code


@pytest.mark.parametrize(
    "body",
    [
        '{"$secret": "dsn"}',
        '{"a": [{"$file": {}}]}',
        '{"a": "\\u0000"}',
        "{",
        "NaN" * 9,
    ],
)
def test_an_answer_cannot_forge_a_reference(bench, body):
    def answer(request: Any, _: bytes) -> None:
        reply(request, 200, body.encode(), Content_Type="application/json")

    with http_server(answer) as base:
        outcome = bench.good("http.request", {"url": base})

    assert outcome.output["json"] is None
    assert outcome.output["text"] == body


def test_credentials_of_the_configuration_go_to_their_host(bench):
    bench.config |= {"host_headers": {"127.0.0.1": {"Authorization": "Bearer x"}}}
    with http_server(echo) as base:
        seen = bench.good("http.request", {"url": base}).output["json"]
        other = base.replace("127.0.0.1", "localhost")
        not_seen = bench.good("http.request", {"url": other}).output["json"]

    assert seen["headers"]["authorization"] == "Bearer x"
    assert "authorization" not in not_seen["headers"]


# notify


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
        ({"END": "hang up"}, Failed, "notify.outcome_unknown"),
    ],
)
def test_a_mail_server_that_does_not_take_it(mailing, mail_server, answers, kind, code):
    mail_server.answers.update(answers)

    outcome = mailing.run("notify.email", MAIL)

    assert isinstance(outcome, kind)
    assert outcome.code == code


def test_one_refused_recipient_of_two_is_told(mailing):
    params = {**MAIL, "to": ["ops@example.com", "unknown@example.com"]}

    outcome = mailing.good("notify.email", params)

    assert outcome.output["accepted"] == ["ops@example.com"]
    assert outcome.output["refused"] == ["unknown@example.com"]


def test_recipients_outside_the_allowed_domains_are_refused_before_sending(
    mailing, mail_server
):
    mailing.config["domains"] = ["example.com"]
    params = {**MAIL, "to": ["ops@example.com", "x@evil.example"]}

    assert mailing.code("notify.email", params) == "notify.recipient"
    assert mailing.check("notify.email", params) == ["notify.recipient"]
    assert mail_server.mails == []


def test_a_line_break_cannot_add_a_header(mailing, mail_server):
    registered = builtin.find("notify.email@1")
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


# jira-write


class Jira:
    """As much of Jira's documented REST API as a transition needs."""

    WAYS = {
        "11": ("Start", "In Progress"),
        "21": ("Finish", "Done"),
        "31": ("Reopen", "To Do"),
    }

    def __init__(self) -> None:
        self.status, self.posts = "To Do", 0
        self.properties: dict[str, Any] = {}
        self.broken = 0

    def answer(self, request: Any, body: bytes) -> None:
        expected = base64.b64encode(b"bot@example.com:t0ken").decode()
        if request.headers["Authorization"] != f"Basic {expected}":
            return reply(request, 401)
        if not re.match(r"/rest/api/3/issue/PROJ-123(\W|$)", request.path):
            return reply(request, 404)
        if request.command == "POST":
            return self.transition(request, json.loads(body))
        if request.path.endswith("/transitions"):
            offered = [{"id": key, "name": name, "to": {"name": to}}
                       for key, (name, to) in self.WAYS.items() if to != self.status]  # fmt: skip
            return reply(request, 200, json.dumps({"transitions": offered}).encode())
        found = {
            "fields": {"status": {"name": self.status}},
            "properties": self.properties,
        }
        return reply(request, 200, json.dumps(found).encode())

    def transition(self, request: Any, body: Any) -> None:
        self.posts += 1
        self.status = self.WAYS[body["transition"]["id"]][1]
        self.properties |= {item["key"]: item["value"] for item in body["properties"]}
        if self.broken:
            self.broken -= 1
            request.connection.close()
        else:
            reply(request, 204)


@pytest.fixture
def jira(bench: Bench) -> Iterator[Jira]:
    made = Jira()
    with http_server(made.answer) as base:
        bench.config = {"base_url": base, "user": "bot@example.com", "token": "t0ken"}
        yield made


SEED = {"issue": "PROJ-123", "status": "In Progress"}


def test_the_transition_of_the_example_moves_the_issue_and_its_undo_moves_it_back(
    bench, jira
):
    made = bench.good("jira-write.transition", SEED)

    assert jira.status == "In Progress"
    assert made.output["previous_status"] == "To Do"
    bench.good("jira-write.transition", {"issue": "PROJ-123", "status": "To Do"})
    assert jira.status == "To Do"


def test_a_try_whose_answer_was_lost_is_found_again_and_not_repeated(bench, jira):
    jira.broken = 1

    lost = bench.run("jira-write.transition", SEED, key="a")
    again = bench.good("jira-write.transition", SEED, key="a")

    assert isinstance(lost, Retry)
    assert again.output["previous_status"] == "To Do"
    assert jira.posts == 1


def test_an_issue_that_is_there_already_is_not_moved(bench, jira):
    jira.status = "In Progress"

    outcome = bench.good("jira-write.transition", SEED)

    assert outcome.output["changed"] is False
    assert jira.posts == 0


@pytest.mark.parametrize(
    ("params", "config", "code"),
    [
        ({"issue": "PROJ-999", "status": "Done"}, {}, "jira.no_issue"),
        ({"issue": "PROJ-123", "status": "Shipped"}, {}, "jira.no_transition"),
        (SEED, {"token": "wrong"}, "jira.denied"),
        (SEED, {"base_url": ""}, "jira.not_configured"),
        (SEED, {"base_url": "http://127.0.0.1:1"}, "jira.unreachable"),
    ],
)
def test_jira_says_no(bench, jira, params, config, code):
    bench.config |= config

    assert bench.code("jira-write.transition", params) == code
    assert jira.posts == 0


def test_the_dry_run_asks_jira_under_the_guard_and_moves_nothing(bench, jira, tmp_path):
    handler = "jira-write.transition@1"
    runner = Runner(home=tmp_path / "home")
    call = WireCall(
        handler=handler, params=SEED, config=bench.config, workdir=tmp_path / "w",
        idempotency_key="k", deadline_s=10, kind=CallKind.DRY_RUN, allow=builtin.allowance(handler),
    )  # fmt: skip

    preview = runner.complete(call)
    runner.kill()

    assert isinstance(preview, DryRun)
    assert preview.changes == ("PROJ-123: To Do -> In Progress",)
    assert jira.posts == 0
    assert bench.check("jira-write.transition", {"issue": "PROJ-9", "status": "x"}) == [
        "jira.no_issue"
    ]
