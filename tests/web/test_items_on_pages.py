"""Items of a list on pages, in frames, and in the API."""

import pytest

from execfabric.lib import clock
from orchestration.runs.domain.results import Failure
from orchestration.runs.engine import attempts
from orchestration.runs.pages import frames
from tests.api_builders import Caller, token_of
from tests.builders import DONE, approved, plan, step
from tests.console_builders import words

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]
FAILED = Failure("lab.refused", "The target said no.")


def each(count=3, action="echo", **fields):
    items = [f"port {number}" for number in range(count)]
    made = {"forEach": items, "as": "port", "onItemError": "continue"}
    return step("each", action, **{"params": {"value": "$port"}, **made, **fields})


def end(run, item, result=DONE):
    lease = attempts.claim(
        step_run_id=run.steps.get(key="each", item=item).id,
        worker="test",
        session=f"{item:016x}",
        at=clock.now(),
    )
    attempts.complete(lease, result, worker="test", session="", at=clock.now())


@pytest.fixture
def run(proposer, operator):
    return approved(plan(each(), step("after", after="each")), proposer, operator)


def test_the_run_page_counts_the_items_of_a_step(client, run, operator):
    client.force_login(operator)
    end(run, 0)
    end(run, 1, FAILED)

    response = client.get(f"/runs/{run.pk}")

    html, text = response.content.decode(), words(response)
    assert "1 of 3 items succeeded, 1 failed" in text
    assert "0 of 2 steps done" in text
    assert html.count('class="step"') == 2
    assert "Step “each [1]” failed." in text
    failed = run.steps.get(key="each", item=1)
    assert f"/runs/{run.pk}/steps/{failed.pk}" in html


def test_the_page_of_a_step_lists_its_items_and_each_has_a_page(client, run, operator):
    client.force_login(operator)

    listed = client.get(f"/runs/{run.pk}/steps/each").content.decode()
    item = words(client.get(f"/runs/{run.pk}/steps/each.2"))

    assert all(f'data-testid="item-{number}"' in listed for number in range(3))
    assert "port 1" in listed
    assert "each [2]: port 2" in item
    assert client.get(f"/runs/{run.pk}/steps/each.3").status_code == 404
    assert client.get(f"/runs/{run.pk}/steps/each.x").status_code == 404


def test_a_long_list_is_shown_in_pages(client, proposer, operator):
    run = approved(plan(each(120)), proposer, operator)
    client.force_login(operator)
    address = f"/runs/{run.pk}/steps/each"

    first = client.get(address).content.decode()
    last = client.get(f"{address}?from=101").content.decode()

    assert "Showing items 0–49 of 120." in first
    assert "Showing items 100–119 of 120." in last
    assert first.count('data-testid="item-') == 50


def test_a_frame_sends_no_items_and_only_the_counts_of_their_step(run, operator):
    page = frames.LivePage(run.pk)
    start = frames.snapshot(page, frames.Cursor(), by=operator.actor(), at=clock.now())
    end(run, 0)

    frame = frames.since(page, start.cursor, by=operator.actor(), at=clock.now())

    changed = {place for place in frame.parts if place[-1].isdigit()}
    assert changed == {"gate-0"}
    assert "1 of 3 items succeeded" in frame.parts["gate-0"]


def test_the_events_of_items_name_them(client, run, operator):
    client.force_login(operator)
    end(run, 2 - 2)

    html = client.get(f"/runs/{run.pk}?view=events").content.decode()

    assert "each [0]" in html


def test_the_graph_has_one_box_for_all_items(client, run, operator):
    client.force_login(operator)
    end(run, 0)

    html = client.get(f"/runs/{run.pk}?view=graph").content.decode()

    assert html.count('data-testid="graph-node"') == 2
    assert "1 of 3" in html
    assert "once for each item" in html


def test_the_page_of_a_gate_names_the_item(client, proposer, operator):
    run = approved(plan(each(action="risky"), parallel=True), proposer, operator)
    client.force_login(operator)
    gate = run.steps.get(key="each", item=1).gate_id

    text = words(client.get(f"/gates/{gate}"))

    assert 'each [1]: "port 1"' in text
    assert "Item 1 of step each" in text


def test_the_page_of_a_plan_gate_says_how_many_items_there_are(
    client, proposer, operator
):
    text = plan(
        each(),
        step("list", params={"value": []}),
        step("more", after="list", forEach="$list.output.value", approval=True),
    )
    run = approved(text, proposer, operator)
    client.force_login(operator)

    text = words(client.get(f"/gates/{run.gate_id}"))

    assert "Runs once for each of 3 items. All of them must succeed." in text
    assert "After a failure the other items run." in text
    assert "Runs once for each item of $list.output.value" in text
    assert "Each item needs its own approval." in text


def test_the_api_lists_items_under_their_step(run, operator):
    end(run, 0)
    end(run, 1, FAILED)

    steps = Caller(token_of(operator)).get(f"runs/{run.pk}").json()["steps"]

    assert [one["id"] for one in steps] == ["each", "after"]
    assert steps[0]["kind"] == "for_each"
    assert [
        (one["item"], one["value"], one["state"], one["error"] and one["error"]["code"])
        for one in steps[0]["items"]
    ] == [
        (0, "port 0", "succeeded", None),
        (1, "port 1", "failed", "lab.refused"),
        (2, "port 2", "ready", None),
    ]
    assert steps[1]["items"] == []
