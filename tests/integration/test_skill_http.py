"""The http skill against a small server on loopback."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestration.skills.domain.outcome import Failed, Retry, Succeeded, Unknown
from orchestration.skills.execution import Runner
from tests.integration.runner_builders import a_runner, call_of
from tests.skill_calls import Bench, http_server, reply


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "calls", {"allow_private": True})


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runner]:
    with a_runner(tmp_path / "home", monkeypatch) as made:
        yield made


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
    [("GET", Retry, "http.no_answer"), ("POST", Unknown, "http.outcome_unknown")],
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


@pytest.mark.parametrize(
    ("to", "kind", "code"),
    [
        ("http://127.0.0.1:1/", Failed, "outbound.denied"),
        ("http://nosuch.invalid/", Unknown, "http.outcome_unknown"),
    ],
)
def test_a_redirect_that_fails_is_no_proof_that_nothing_happened(bench, to, kind, code):
    with http_server(lambda request, body: reply(request, 307, Location=to)) as base:
        bench.config = {"allow_hosts": [base.removeprefix("http://")]}
        outcome = bench.run(
            "http.request", {"method": "POST", "url": base, "redirects": 1}
        )

    assert isinstance(outcome, kind)
    assert outcome.code == code
    assert not getattr(outcome, "before_effect", False)


def test_a_secret_that_the_host_sends_back_is_masked_and_digested_as_stored(
    runner, tmp_path
):
    with http_server(echo) as base:
        config = {
            "allow_private": True,
            "host_headers": {"127.0.0.1": {"X-Token": {"$secret": "token"}}},
        }
        params = {"url": base, "save": True}
        call = call_of("http.request@1", tmp_path, params=params, config=config)
        answer = runner.complete(call, secrets={"token": "p4ss word"}.__getitem__)

    saved = answer.files["response"].read_bytes()
    assert b"p4ss word" not in saved
    assert json.loads(saved)["headers"]["x-token"] == "[masked]"
    assert answer.output["sha256"] == hashlib.sha256(saved).hexdigest()
    assert answer.output["bytes"] == len(saved)
    assert answer.output["masked"] is True
