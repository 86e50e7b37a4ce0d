"""Bad input by API: each gets a clear error with a code, and nothing is stored."""

import json

import pytest

from execfabric.lib.rights import Role
from orchestration.runs.models import Run
from tests.api_builders import PLAN, a_run, caller, open_gate, registry

pytestmark = pytest.mark.django_db


def deep(levels: int) -> bytes:
    return b'{"plan": ' + b"[" * levels + b"]" * levels + b"}"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        pytest.param(b"", 422, "request.invalid", id="empty"),
        pytest.param(b"{", 400, "request.unreadable", id="not json"),
        pytest.param(b"\xff\xfe", 400, "request.unreadable", id="not utf-8"),
        pytest.param(b'{"plan": NaN}', 400, "request.unreadable", id="NaN"),
        pytest.param(
            b'{"plan": "a", "plan": "b"}', 400, "request.unreadable", id="key twice"
        ),
        pytest.param(b'{"plan": "\\u0000"}', 400, "request.unreadable", id="NUL"),
        pytest.param(
            b'{"plan": "\\ud800"}', 400, "request.unreadable", id="lone surrogate"
        ),
        pytest.param(deep(900), 400, "request.unreadable", id="deep"),
        pytest.param(deep(100_000), 400, "request.unreadable", id="very deep"),
        pytest.param(b"[]", 422, "request.invalid", id="a list"),
        pytest.param(b'{"plan": 7}', 422, "request.invalid", id="wrong type"),
        pytest.param(
            b'{"plan": "a", "inputs": []}', 422, "request.invalid", id="inputs list"
        ),
        pytest.param(
            b'{"plan": "a", "colour": 1}', 422, "request.invalid", id="unknown key"
        ),
        pytest.param(
            b'{"plan": {"a": 1e400}}', 422, "canonical.no_form", id="infinite number"
        ),
        pytest.param(
            b'{"plan": {"a": 123456789012345678901}}',
            422,
            "canonical.no_form",
            id="integer too large",
        ),
        pytest.param(
            b'{"plan": "' + b"a" * (5 * 1024 * 1024) + b'"}',
            413,
            "request.too_large",
            id="too large",
        ),
    ],
)
@pytest.mark.parametrize("route", ["plans:validate", "plans:dry-run", "runs"])
def test_a_bad_body_is_refused_by_name(route, body, status, code) -> None:
    answer = caller("proposer", Role.PROPOSER).post(route, body)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert not Run.objects.exists()


def test_a_body_that_is_too_large_is_told_the_limit() -> None:
    body = b'{"plan": "' + b"a" * (5 * 1024 * 1024) + b'"}'

    answer = caller("proposer", Role.PROPOSER).post("runs", body)

    assert answer.json()["detail"] == (
        "The request is too large (max 5,242,880 bytes, 5 MB)."
    )
    assert answer.json()["limit"] == 5_242_880


@pytest.mark.parametrize(
    "body",
    [
        pytest.param({}, id="empty"),
        pytest.param({"approve": "yes", "digest": "0" * 64}, id="approve is text"),
        pytest.param({"approve": True}, id="no digest"),
        pytest.param({"approve": True, "digest": "0" * 65}, id="digest too long"),
        pytest.param({"approve": True, "digest": None}, id="digest null"),
        pytest.param(
            {"approve": True, "digest": "0" * 64, "for": "both"}, id="unknown key"
        ),
    ],
)
def test_a_malformed_decision_is_refused_and_the_gate_stays_open(body) -> None:
    registry()
    operator = caller("operator", Role.OPERATOR)
    gate = open_gate(operator, a_run(caller("proposer", Role.PROPOSER)))

    answer = operator.post(f"gates/{gate['id']}/decisions", body)

    assert (answer.status_code, answer.json()["code"]) == (422, "request.invalid")
    assert answer.json()["errors"]
    assert operator.get(f"gates/{gate['id']}").json()["status"] == "requested"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param("runs?state=sleeping", 422, id="unknown state"),
        pytest.param("runs?limit=0", 422, id="limit of none"),
        pytest.param("runs?limit=100000", 422, id="limit too large"),
        pytest.param("runs?after=x", 422, id="cursor is no id"),
        pytest.param("runs/7", 404, id="run is no id"),
        pytest.param("gates?status=perhaps", 422, id="unknown status"),
        pytest.param("gates?run=x", 422, id="run is no id in a filter"),
        pytest.param("trace?before=99999999999999999999", 422, id="no such cursor"),
        pytest.param("trace?text=%00", 400, id="NUL in a search"),
        pytest.param("trace?text=%25", 200, id="a pattern is plain text"),
        pytest.param("trace?since=yesterday", 422, id="not a time"),
        pytest.param("trace/verify?stream=nowhere", 404, id="unknown stream"),
        pytest.param("artifacts/abc", 422, id="not a digest"),
        pytest.param("artifacts/" + "0" * 64, 404, id="unknown file"),
        pytest.param("artifacts/%00", 400, id="NUL in a digest"),
        pytest.param("skills/nowhere", 404, id="unknown skill"),
        pytest.param("skills/%00", 400, id="NUL in a slug"),
    ],
)
def test_a_bad_address_is_refused_by_name(path, status) -> None:
    answer = caller("operator", Role.OPERATOR).get(path)

    assert answer.status_code == status, answer.content
    if status != 200:
        assert answer.json()["code"]


def test_an_idempotency_key_that_is_too_long_is_refused() -> None:
    body = json.dumps({"plan": PLAN, "inputs": {"word": "hello"}})
    proposer = caller("proposer", Role.PROPOSER)

    answer = proposer.post("runs", body, **{"Idempotency-Key": "k" * 201})

    assert (answer.status_code, answer.json()["code"]) == (422, "request.key_too_long")
