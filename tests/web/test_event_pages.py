"""Received events: what the pages, the API and the command show, and to whom."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from execfabric.identity import services as accounts
from execfabric.lib import clock
from execfabric.lib.actor import system
from orchestration.runs.control import events
from orchestration.runs.models import EventMatch, EventWait, ExternalEvent
from tests.api_builders import Caller, token_of
from tests.builders import approved, plan
from tests.console_builders import signed_in, words

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]
PAID = {"type": "invoice.paid", "key": "$inputs.invoice"}
TEXT = plan(
    {"id": "paid", "kind": "wait", "event": PAID},
    id="ship",
    name="Ship when paid",
    inputs={"properties": {"invoice": {"type": "string"}}, "required": ["invoice"]},
)


def sent(by, key: str = "7", type_: str = "invoice.paid", **payload) -> ExternalEvent:
    return events.send(
        type=type_, key=key, payload=payload, by=by.actor(), at=clock.now()
    ).event


@pytest.fixture
def stored(proposer, operator, second_operator):
    """Send an event that a run waits for, one that no run does, and one of a robot."""
    run = approved(TEXT, proposer, operator, invoice="7")
    agent, _ = accounts.create_agent(
        name="robot", owner=proposer.username, by=system("test"), at=clock.now()
    )
    taken = sent(second_operator, amount=120, note="<b>Ä</b>")
    unknown = sent(second_operator, "8")
    return run, taken, unknown, sent(agent, "", "build.ended")


def rows_of(page) -> list[str]:
    return [str(one.pk) for one in page.context["events"]]


def test_the_page_lists_what_arrived_and_which_wait_took_it(
    stored, proposer, operator, stranger
):
    run, taken, unknown, of_agent = stored
    browser = signed_in(operator)
    page = browser.get("/events")
    text = words(page)

    assert rows_of(page) == [str(one.pk) for one in (of_agent, unknown, taken)]
    assert f'href="/runs/{run.pk}/steps/paid"' in page.content.decode()
    assert "Ship when paid, step paid" in text
    assert text.count("No wait yet. Stored until") == 2
    assert 'aria-current="page">Events' in page.content.decode()
    # The reader sees own events, and those that own runs have taken.
    mine = signed_in(proposer)
    assert rows_of(mine.get("/events")) == [str(of_agent.pk), str(taken.pk)]
    assert mine.get(f"/events/{unknown.pk}").status_code == 404
    assert rows_of(signed_in(stranger).get("/events")) == []
    # Filters, and the next page.
    by_type = {"type": "invoice.paid", "key": "8"}
    assert rows_of(browser.get("/events", by_type)) == [str(unknown.pk)]
    assert rows_of(browser.get("/events", {"before": unknown.pk})) == [str(taken.pk)]
    nothing = words(browser.get("/events", {"type": "x", "key": "8", "before": "z"}))
    assert "No event has this type and key." in nothing


def test_an_event_has_a_page_with_its_payload(stored, operator, second_operator):
    run, taken, unknown, _ = stored
    page = signed_in(operator).get(f"/events/{taken.pk}")

    assert "&lt;b&gt;Ä&lt;/b&gt;" in page.content.decode()
    assert "Sent by second-operator" in words(page)
    assert f'href="/runs/{run.pk}/steps/paid"' in page.content.decode()
    payload = signed_in(operator).get(f"/events/{taken.pk}/payload.json")
    assert payload.json() == {"amount": 120, "note": "<b>Ä</b>"}
    # Someone who sent it and cannot see the run.
    assert "No wait yet" in words(
        signed_in(second_operator).get(f"/events/{unknown.pk}")
    )


def test_a_sender_does_not_learn_of_runs_that_they_cannot_see(
    operator, second_operator, proposer, stranger
):
    stranger.groups.set(proposer.groups.all())
    run = approved(TEXT, proposer, operator, invoice="7")
    event = sent(stranger)

    page = signed_in(stranger).get(f"/events/{event.pk}")
    found = Caller(token_of(stranger)).get(f"events/{event.pk}").json()

    assert "Ended a wait of a run that you cannot see" in words(page)
    assert str(run.pk) not in page.content.decode()
    assert (found["is_taken"], found["taken_by"]) == (True, [])


def test_the_api_lists_the_same_events(stored, operator, proposer):
    run, taken, unknown, of_agent = stored
    caller = Caller(token_of(operator))
    first = caller.get("events", limit=2).json()
    rest = caller.get("events", limit=2, after=first["next"]).json()

    listed = [*first["items"], *rest["items"]]
    assert [one["id"] for one in listed] == [
        str(one.pk) for one in (of_agent, unknown, taken)
    ]
    assert rest["next"] is None
    assert (listed[2]["is_taken"], listed[1]["is_taken"]) == (True, False)
    [wait] = listed[2]["taken_by"]
    assert (wait["run"], wait["step"]) == (str(run.pk), "paid")
    assert listed[2]["url"].endswith(f"/events/{taken.pk}")
    one = caller.get(f"events/{taken.pk}").json()
    assert one["payload"] == {"amount": 120, "note": "<b>Ä</b>"}
    typed = caller.get("events", type="build.ended").json()["items"]
    assert [each["sender_name"] for each in typed] == ["robot"]
    hidden = Caller(token_of(proposer)).get(f"events/{unknown.pk}")
    assert (hidden.status_code, hidden.json()["code"]) == (404, "event.unknown")


def test_a_list_costs_the_same_number_of_queries_for_any_number_of_events(
    stored, operator, second_operator
):
    browser = signed_in(operator)

    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            browser.get("/events")
        return len(queries)

    before = cost()
    for number in range(5):
        sent(second_operator, str(number))

    assert cost() == before


@pytest.fixture
def many(stored) -> ExternalEvent:
    """Return an event that has ended 601 waits of one run."""
    event = stored[1]
    first = EventWait.objects.get(match__event=event)
    columns = {"type": first.type, "key": first.key, "opened_at": first.opened_at}
    waits = [
        EventWait(step_run=first.step_run, generation=1000 + number, **columns)
        for number in range(600)
    ]
    EventWait.objects.bulk_create(waits)
    EventMatch.objects.bulk_create(
        EventMatch(wait=wait, event=event, matched_at=clock.now()) for wait in waits
    )
    return event


@pytest.fixture
def loaded(monkeypatch) -> list[EventMatch]:
    """Collect the rows that are read from the table of ended waits."""
    rows, read = [], EventMatch.from_db

    def reading(*args):
        rows.append(read(*args))
        return rows[-1]

    monkeypatch.setattr(EventMatch, "from_db", reading)
    return rows


def test_a_list_loads_the_first_of_many_waits(many, loaded, operator, proposer):
    page = signed_in(proposer).get("/events")
    listed = Caller(token_of(operator)).get("events", type="invoice.paid").json()

    assert len(loaded) == 10
    step = loaded[0].wait.step_run
    assert "output" in step.get_deferred_fields()
    assert {"inputs", "pins"} <= step.run.get_deferred_fields()
    assert "All 601 waits" in words(page)
    found = listed["items"][-1]
    assert (found["taken_count"], len(found["taken_by"])) == (601, 5)


def test_an_event_has_its_waits_by_page(many, loaded, operator):
    browser, address = signed_in(operator), f"/events/{many.pk}"
    page = browser.get(address)
    cursor = page.context["event"].taken_next

    assert len(loaded) == 101
    assert "More of the 601 waits" in words(page)
    assert f'href="?after={cursor}"' in page.content.decode()
    last = browser.get(address, {"after": loaded[0].pk}).context["event"].taken
    assert (len(last), last[0].pk) == (100, loaded[1].pk)

    caller, sizes, after = Caller(token_of(operator)), [], {}
    while len(sizes) < 4:
        found = caller.get(f"events/{many.pk}", limit=200, **after).json()
        sizes.append(len(found["taken_by"]))
        after = {"after": found["next"]}
    assert (sizes, found["next"]) == ([200, 200, 200, 1], None)
