"""Text and dates that Postgres cannot store or compare: refused, never a 500."""

import asyncio

import pytest
from asgiref.testing import ApplicationCommunicator
from django.test import Client

from execfabric.asgi import application
from execfabric.lib.rights import Role
from tests.api_builders import a_run, caller, open_gate, registry
from tests.console_builders import signed_in

pytestmark = pytest.mark.django_db

DATES = [
    "2700-09-10T18:42:58-20:31",
    "2700-09-10T18:42:58+23:59",
    "0001-01-01T00:00:00+10:00",
    "9999-12-31T23:59:59-10:00",
    "0000-01-01T00:00:00Z",
    "-9999999999999",
    "99999999999999",
    "1e300",
]
PAGES = [
    "runs?plan=%00",
    "runs?proposer=%00",
    "runs?state=%00",
    "runs?before=%00",
    "inbox?before=%00",
    "inbox?tab=%00",
    "skills?after=%00",
    "skills?domain=%00",
    "skills/%00",
    "skills/noop?draft=%00",
    "trace?stream=%00",
    "trace?kind=%00",
    "trace?actor=%00",
    "trace?step=%00",
    "trace?text=%00",
    "trace?trace_id=%00",
    "trace?before=%00",
    "trace/verify?stream=%00",
    "trace/a%00b/1",
    "plans/new?example=%00",
    "?%00=1",
    "accounts/login/?next=%00",
    "accounts/password/%00",
]


@pytest.mark.parametrize("name", ["since", "until"])
@pytest.mark.parametrize("date", DATES)
def test_a_date_that_cannot_be_utc_is_refused_or_compared(name, date) -> None:
    operator = caller("operator", Role.OPERATOR)

    answer = operator.get("trace", **{name: date})

    assert answer.status_code in {200, 422}, answer.content


@pytest.mark.parametrize("name", ["since", "until"])
@pytest.mark.parametrize("date", DATES)
def test_the_page_refuses_a_date_that_cannot_be_utc(operator, name, date) -> None:
    page = signed_in(operator).get("/trace", {name: date})

    assert page.status_code in {200, 422}
    assert (page.status_code == 422) == (b'aria-invalid="true"' in page.content)


def test_a_date_with_a_far_offset_is_compared_in_utc(operator) -> None:
    page = signed_in(operator).get("/trace", {"since": "2026-01-01T00:00:00-20:31"})

    assert b'aria-invalid="true"' not in page.content


@pytest.mark.parametrize("path", PAGES)
def test_a_null_character_in_an_address_is_refused(operator, path) -> None:
    registry()

    page = signed_in(operator).get(f"/{path}")

    assert page.status_code in {400, 404}


def test_a_cursor_or_place_that_no_page_gave_breaks_nothing(operator) -> None:
    registry()
    author = caller("somebody-else", Role.OPERATOR)
    run = a_run(author)
    gate = open_gate(author, run)["id"]
    client = signed_in(operator)

    for number in ("9" * 19, "9" * 5000, "-1", "\u0663", "1e3", "x:y"):
        for path in (
            f"runs/{run}?view=events&before={number}",
            f"runs/{run}/live?view=events&after={number}",
            f"runs/{run}/live?after=1&log={number}.{number}",
            f"trace?before=run:{run}:{number}",
            f"trace/run:{run}/{number}",
            f"gates/{gate}?from={number}",
            f"gates/{gate}/steps/{number}",
            f"gates/{gate}/value?at=/steps/{number}",
        ):
            assert client.get(f"/{path}").status_code < 500, path


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/accounts/login/", "login"),
        ("/accounts/demo/", "username"),
        ("/plans/new", "inputs"),
        ("/skills/noop/edit", "description"),
    ],
)
def test_a_null_character_in_a_form_is_refused(admin, path, field) -> None:
    registry()
    client = signed_in(admin) if "accounts" not in path else Client()

    page = client.post(path, {field: "a\0b", "password": "x"})

    assert page.status_code == 400


@pytest.mark.parametrize("path", ["me", "nowhere", "runs", "skills/a", "trace"])
def test_a_null_character_in_an_api_address_is_a_problem(path) -> None:
    answer = caller("operator", Role.OPERATOR).get(f"{path}?a=%00")

    assert answer.headers["Content-Type"] == "application/problem+json"
    assert (answer.status_code, answer.json()["code"]) == (400, "request.unreadable")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32", "utf-8-sig"])
def test_a_body_that_is_not_utf_8_is_refused(encoding) -> None:
    body = '{"plan": "plan: {}"}'.encode(encoding)

    answer = caller("proposer", Role.PROPOSER).post("plans:validate", body)

    assert (answer.status_code, answer.json()["code"]) == (400, "request.unreadable")


def test_a_null_character_in_a_plan_is_refused_with_its_place() -> None:
    body = {"plan": "plan:\n  id: a\n  name: \0\n"}

    answer = caller("proposer", Role.PROPOSER).post("plans:validate", body)

    assert answer.status_code == 400
    assert answer.json()["detail"] == (
        "plan, line 3, column 9: a null character is not allowed."
    )
    assert (answer.json()["line"], answer.json()["column"]) == (3, 9)


@pytest.mark.parametrize("path", ["/ws/nope/", "/ws/", "/", "/ws/runs/x/"])
def test_an_unknown_socket_is_closed_without_a_traceback(path, caplog) -> None:
    scope = {
        "type": "websocket",
        "path": path,
        "query_string": b"",
        "headers": [(b"origin", b"http://localhost"), (b"host", b"localhost")],
        "subprotocols": [],
        "scheme": "ws",
    }

    async def closed() -> dict:
        socket = ApplicationCommunicator(application, scope)
        await socket.send_input({"type": "websocket.connect"})
        found = await socket.receive_output(timeout=5)
        await socket.wait(timeout=5)
        return found

    assert asyncio.run(closed())["type"] == "websocket.close"
    assert not [r for r in caplog.records if r.exc_info]
