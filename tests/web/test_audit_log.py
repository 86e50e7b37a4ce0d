"""The audit log: its pickers, its links, and the files that it exports."""

import csv
import io
import json

import pytest
from django.test import Client

from audit import services as audit
from audit.models import Event
from audit.services import Fact
from execfabric.lib import clock
from execfabric.lib.actor import system
from orchestration.trace import selectors
from orchestration.trace.selectors import LogFilter
from orchestration.trace.services import export
from tests.builders import decided, open_gate
from tests.console_builders import a_run, rows, signed_in, step_gate, words

pytestmark = pytest.mark.usefixtures("registry")
ROW_BYTES = 1500
"""A row of the page has no body of an event in it."""


@pytest.fixture
def client(auditor, operator) -> Client:
    return signed_in(auditor)


def kinds(page) -> list[str]:
    """Return the kinds of the events that a page lists."""
    text = page.content.decode()
    return [part.split('"')[0] for part in text.split('data-kind="')[1:]]


def test_each_event_links_to_its_run_and_its_approval(
    proposer, operator, client
) -> None:
    run = a_run(proposer)
    gate = step_gate(run, operator)
    decided(gate, operator, comment="as agreed")

    page = client.get("/trace", {"kind": "gate.decided", "stream": run.stream})

    text = page.content.decode()
    assert kinds(page) == ["gate.decided"] * 2
    assert "operator approved step First hand" in words(page)
    assert text.count(f'href="/runs/{run.pk}"') == 2
    assert f'href="/gates/{gate.pk}"' in text
    assert f'href="/gates/{run.gate_id}"' in text


def test_an_actor_can_be_picked_by_key(proposer, operator, client) -> None:
    run = a_run(proposer)
    decided(open_gate(run), operator)

    of_operator = client.get("/trace", {"actor": operator.actor().key})
    of_system = client.get("/trace", {"actor": "system:"})

    assert "gate.decided" in kinds(of_operator)
    assert "run.proposed" not in kinds(of_operator)
    assert "run.proposed" not in kinds(of_system)
    assert f'value="user:{operator.pk}" selected' in of_operator.content.decode()


def test_a_first_part_picks_all_kinds_that_begin_with_it(
    proposer, operator, client
) -> None:
    decided(open_gate(a_run(proposer)), operator)

    found = kinds(client.get("/trace", {"kind": "gate"}))

    assert {"gate.requested", "gate.decided"} <= set(found)
    assert all(kind.startswith("gate.") for kind in found)


def test_a_decision_can_be_picked(proposer, operator, client) -> None:
    approved, rejected = a_run(proposer), a_run(proposer, word="other")
    decided(open_gate(approved), operator)
    decided(open_gate(rejected), operator, approve=False, comment="no")

    found = selectors.search(LogFilter(decision="rejected"))
    page = client.get("/trace", {"decision": "rejected"})

    assert [event.stream_id for event in found] == [rejected.stream]
    assert kinds(page) == ["gate.decided"]
    assert "operator rejected the plan Hand a value on" in words(page)


def test_a_skill_picks_its_versions_and_the_steps_that_use_it(
    proposer, operator, client
) -> None:
    run = a_run(proposer)
    step_gate(run, operator)

    found = list(selectors.search(LogFilter(skill="noop")))
    page = client.get("/trace", {"skill": "noop"})

    streams = {event.stream_id for event in found}
    assert streams == {"registry", run.stream}
    assert all(event.step for event in found if event.stream_id == run.stream)
    assert "published version" in words(page)
    assert rows(page, "trace-row") == len(found)


def test_times_are_read_in_the_time_zone_of_the_form(proposer, client) -> None:
    audit.append(
        "registry",
        [Fact("test.note", {})],
        by=proposer.actor(),
        at=clock.now().replace(2026, 1, 31, 12, 30),
    )
    asked = {"kind": "test.note", "until": "2026-01-31T13:00"}

    in_utc = client.get("/trace", asked)
    in_tokyo = client.get("/trace", {**asked, "tz": "Asia/Tokyo"})
    in_berlin = client.get("/trace", {**asked, "tz": "Europe/Berlin"})

    assert kinds(in_utc) == ["test.note"]
    assert kinds(in_tokyo) == []
    assert kinds(in_berlin) == []
    assert 'value="2026-01-31T13:00:00"' in in_tokyo.content.decode()


def test_a_page_of_the_log_is_small(proposer, client) -> None:
    for number in range(50):
        payload = {"reason": f"note {number}", "value": "x" * 20_000}
        audit.append(
            "registry",
            [Fact("test.note", payload)],
            by=proposer.actor(),
            at=clock.now(),
        )

    page = client.get("/trace")
    none = client.get("/trace", {"stream": "nothing"})

    assert rows(page, "trace-row") == 50
    assert len(page.content) - len(none.content) < 50 * ROW_BYTES


def test_a_changed_body_is_listed_and_exported_as_it_is(proposer, client) -> None:
    line = Event(
        stream_id="registry",
        seq=1,
        kind="run.proposed",
        at=clock.now(),
        actor="user:1",
        actor_name="somebody",
        body=b"\xff not an event",
        hash=b"",
    )

    [found] = export.lines([line])

    assert found.text == "somebody proposed registry"
    assert "cannot be read" in found.note
    assert found.envelope == "\\xff not an event"


def test_the_events_on_the_page_are_exported_as_csv(proposer, operator, client) -> None:
    run = a_run(proposer)
    decided(open_gate(run), operator, comment="=1+1, as agreed")

    answer = client.get("/trace/export.csv", {"stream": run.stream})

    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer["Content-Disposition"]
    found = list(csv.DictReader(io.StringIO(b"".join(answer).decode())))
    [decision] = [row for row in found if row["kind"] == "gate.decided"]
    assert len(found) == Event.objects.filter(stream_id=run.stream).count()
    assert decision["sentence"] == "operator approved the plan Hand a value on"
    assert decision["note"] == "'=1+1, as agreed"
    assert decision["run"] == str(run.pk)
    assert decision["approval"] == str(run.gate_id)


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_of_the_csv_is_a_formula(first, proposer) -> None:
    audit.append(
        "registry",
        [Fact("test.note", {"reason": f"{first}cmd"})],
        by=proposer.actor(),
        at=clock.now(),
    )

    text = b"".join(export.as_csv(LogFilter(kind="test.note"))).decode()

    [row] = csv.DictReader(io.StringIO(text, newline=""))
    assert row["note"] == f"'{first}cmd"


def test_the_events_on_the_page_are_exported_as_json(proposer, client) -> None:
    run = a_run(proposer)

    answer = client.get("/trace/export.json", {"stream": run.stream})

    found = json.loads(b"".join(answer))
    events = Event.objects.filter(stream_id=run.stream).order_by("-seq")
    assert found["next"] is None
    assert [item["hash"] for item in found["items"]] == [
        bytes(event.hash).hex() for event in events
    ]
    assert {item["stream"] for item in found["items"]} == {run.stream}


def test_an_export_says_that_the_limit_cuts_it_off(monkeypatch, registry) -> None:
    monkeypatch.setattr(export, "PAGE", 2)
    for number in range(5):
        audit.append(
            "registry",
            [Fact("test.note", {"n": number})],
            by=system("test"),
            at=clock.now(),
        )
    query = LogFilter(kind="test.note")

    cut = json.loads(b"".join(export.as_json(query, most=3)))
    whole = json.loads(b"".join(export.as_json(query, most=5)))
    table = b"".join(export.as_csv(query, most=3)).decode().splitlines()

    assert [item["payload"]["n"] for item in cut["items"]] == [4, 3, 2]
    assert cut["next"] == selectors.audit.cursor_of(selectors.search(query)[2])
    assert [item["payload"]["n"] for item in whole["items"]] == [4, 3, 2, 1, 0]
    assert whole["next"] is None
    assert len(table) == 1 + 3 + 1
    assert "Showing the newest 3 events." in table[-1]


def test_only_readers_of_the_whole_log_export_it(proposer) -> None:
    run, client = a_run(proposer), signed_in(proposer)

    page = client.get("/trace", {"stream": run.stream})

    assert page.status_code == 200
    assert "/trace/export" not in page.content.decode()
    for suffix in ("csv", "json"):
        answer = client.get(f"/trace/export.{suffix}", {"stream": run.stream})
        assert answer.status_code == 403
