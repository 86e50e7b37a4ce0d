"""Events: their keys and payloads, and what the record holds of them."""

import pytest
from django.db import DatabaseError, connection, transaction

from execfabric.identity.errors import RightMissing
from execfabric.lib import clock
from orchestration.plans.services import check
from orchestration.runs.control import events
from orchestration.runs.engine import events as engine
from orchestration.runs.errors import (
    EventInvalid,
    EventKeyInvalid,
    EventTooLarge,
)
from orchestration.runs.keeper import sweep
from orchestration.runs.models import ExternalEvent
from orchestration.trace.services import streams
from tests.builders import (
    approved,
    driven,
    plan,
    states,
    step,
)
from tests.integration.event_builders import TEXT, awaits, sent, waiting

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry", "path"),
]


@pytest.mark.parametrize(
    ("value", "key"), [(1200.0, "1200"), (7, "7"), (0.5, "0.5"), ("1200.0", "1200.0")]
)
def test_a_number_as_key_is_written_as_in_a_text(value, key):
    assert engine.key_of(value) == key


@pytest.mark.parametrize("value", [float("nan"), 2**60, True, None, "a\0b"])
def test_a_key_without_a_text_has_a_named_error(value):
    with pytest.raises(EventKeyInvalid):
        engine.key_of(value)


@pytest.mark.parametrize("value", [{"a": 1}, [7], True, None, "x" * 201])
def test_a_key_that_is_no_text_fails_the_step(value, proposer, operator, worker):
    text = plan(
        step("ask", params={"number": value}),
        awaits(
            event={"type": "invoice.paid", "key": "$ask.output.number"},
            dependsOn=["ask"],
        ),
    )
    run = driven(approved(text, proposer, operator), worker)

    assert run.steps.get(key="paid").error["code"] == "event.key_invalid"


def test_a_wait_that_outlives_its_approval_is_a_warning_for_the_proposer(proposer):
    checked = check.check(text=TEXT, inputs=None, by=proposer.actor())

    assert "plan.wait_outlives_approval" in {one.code for one in checked.problems}
    assert checked.valid


def accepted(monkeypatch, send):
    """Send an event as releases did that did not check its numbers."""
    with monkeypatch.context() as patch:
        patch.setattr(events, "_checked", lambda *_: {"amount": 1e16})
        return send()


def test_a_stored_event_with_a_large_number_fails_a_wait_that_opens(
    proposer, operator, monkeypatch
):
    accepted(monkeypatch, lambda: sent(operator))
    paid = waiting(proposer, operator).steps.get(key="paid")
    other = waiting(proposer, operator)
    sweep.sweep(at=clock.now())

    assert (paid.state, paid.not_before) == ("failed", None)
    assert states(other)["paid"] == "waiting"
    assert paid.error["code"] == "event.payload_invalid"


def test_an_event_with_a_large_number_fails_the_open_wait(
    proposer, operator, worker, monkeypatch
):
    run = waiting(proposer, operator)
    accepted(monkeypatch, lambda: sent(operator))
    sweep.sweep(at=clock.now())
    run.refresh_from_db()

    assert run.steps.get(key="paid").error["code"] == "event.payload_invalid"
    assert run.state == "paused"


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"payload": {"text": "x" * (64 << 10)}}, EventTooLarge),
        ({"payload": [1]}, EventInvalid),
        ({"payload": {"a": {"$file": {"sha256": "0" * 64}}}}, EventInvalid),
        ({"payload": {"a": [{"$secret": "TOKEN"}]}}, EventInvalid),
        ({"payload": {"a": float("nan")}}, EventInvalid),
        ({"payload": {"a": 1e16}}, EventInvalid),
        ({"payload": {"a": ["x\0"]}}, EventInvalid),
        ({"payload": {"a": "\ud800"}}, EventInvalid),
        ({"key": "x" * 201}, EventInvalid),
        ({"key": "a\0b"}, EventInvalid),
        ({"type": "no spaces"}, EventInvalid),
        ({"type": ""}, EventInvalid),
    ],
)
def test_a_bad_event_is_refused_and_nothing_is_stored(fields, error, operator):
    with pytest.raises(error):
        sent(operator, **fields)

    assert not ExternalEvent.objects.exists()


def test_who_may_not_propose_may_not_send(auditor):
    with pytest.raises(RightMissing):
        sent(auditor)


TABLES = ["runs_externalevent", "runs_eventwait", "runs_eventmatch"]


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("act", ["UPDATE {} SET event_id = event_id", "DELETE FROM {}"])
def test_events_are_insert_only(table, act, proposer, operator):
    waiting(proposer, operator)
    sent(operator)
    statement = act.format(table)
    if table != "runs_eventmatch":
        statement = statement.replace("event_id", "id")

    with (
        pytest.raises(DatabaseError, match="insert"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)


def test_an_event_that_was_changed_after_it_arrived_ends_no_wait(proposer, operator):
    sent(operator)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("UPDATE runs_externalevent SET payload = '{\"amount\": 1}'")
    paid = waiting(proposer, operator).steps.get(key="paid")

    assert (paid.state, paid.error["code"]) == ("failed", "event.changed")
    assert paid.output is None


def test_numbers_of_a_payload_are_stored_as_they_were(proposer, operator):
    sent(operator, payload={"a": [1200.0, 0.1, -0.0, 1e-300, 2**53 - 1, 1.5e15]})

    assert states(waiting(proposer, operator))["paid"] == "succeeded"


def test_a_changed_event_is_found(proposer, operator):
    run = waiting(proposer, operator)
    sent(operator)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("UPDATE runs_externalevent SET payload = '{\"amount\": 1}'")
        cursor.execute("UPDATE runs_eventwait SET key = '8'")

    found = [
        (one.table, one.column)
        for stream in (run.stream, "events")
        for one in streams.verify_stream(stream).differences
    ]
    assert found == [("runs_eventwait", "key"), ("runs_externalevent", "payload")]
