"""The graph of a plan: on the page of a plan, of its approval, and of its run."""

import html
import json
import re

import pytest
from django.http import HttpResponse

from audit import selectors as audit
from execfabric.lib import clock
from orchestration.plans.pages import graph
from orchestration.runs.pages import frames
from orchestration.runs.pages.frames import Cursor, LivePage
from tests.builders import approved, decided, driven, open_gate, plan, proposed, step
from tests.console_builders import rows, signed_in, words

pytestmark = pytest.mark.usefixtures("registry")
DIAMOND = plan(
    step("build", name="Build it"),
    step("test", after="build"),
    step("scan", after="build"),
    step("deploy", after=["test", "scan"], approval={"reason": "Customers see it"}),
    parallel={"max": 2},
)
CYCLE = plan(step("one", after="two"), step("two", after="one"))


def nodes(page: HttpResponse) -> dict[str, str]:
    """Return the link of each step in the graph, without its tags, by id."""
    found = re.findall(
        r'href="([^"]*)" data-testid="graph-node" data-step="([^"]+)"(.*?)</a>',
        page.content.decode(),
        re.DOTALL,
    )
    texts = {key: re.sub(r"<[^>]+>", " ", inner) for _, key, inner in found}
    return {
        key: html.unescape(f"{href} {' '.join(texts[key].split())}")
        for href, key, _ in found
    }


def test_the_preview_draws_each_step_with_its_place_in_the_text(proposer) -> None:
    text = json.dumps(json.loads(DIAMOND), indent=1)

    page = signed_in(proposer).post("/plans/check", {"text": text})

    found = nodes(page)
    assert list(found) == ["build", "test", "scan", "deploy"]
    assert all("Low risk" in one and one.startswith("#text ") for one in found.values())
    assert "Build it" in found["build"]
    assert 'aria-label="Needs its own approval"' in page.content.decode()
    line = text.splitlines().index('    "id": "scan",') + 1
    assert f'data-step="scan" data-line="{line - 1}"' in page.content.decode()
    assert page.content.decode().count('marker-end="url(#graph-tip)"') == 4
    assert "run in parallel, at most 2 at a time" in words(page)
    assert "deploy , after test , scan , needs its own approval Low risk" in words(page)


def test_a_plan_with_problems_is_drawn_and_the_steps_with_errors_are_marked(
    proposer,
) -> None:
    text = plan(step("good"), step("bad", "no-such-action", after="good"))

    page = signed_in(proposer).post("/plans/check", {"text": text})

    found = nodes(page)
    assert "Error" in found["bad"]
    assert "Error" not in found["good"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param(CYCLE, "drawn when no steps depend on each other", id="cycle"),
        pytest.param(plan(), "", id="no steps"),
        pytest.param("a: [", "", id="not YAML"),
    ],
)
def test_what_cannot_be_laid_out_is_not_drawn(text, sentence, proposer) -> None:
    page = signed_in(proposer).post("/plans/check", {"text": text})

    assert page.status_code == 200
    assert nodes(page) == {}
    assert sentence in words(page)
    assert rows(page, "graph") == bool(sentence)


def test_a_sequential_plan_has_numbers_and_a_parallel_one_has_none(proposer) -> None:
    client = signed_in(proposer)
    texts = [plan(step("one"), step("two"), parallel=way) for way in (False, True)]

    sequential, parallel = (
        client.post("/plans/check", {"text": text}) for text in texts
    )

    assert (
        nodes(sequential)["two"].startswith("#text > 2 two")
        or "2 two" in (nodes(sequential)["two"])
    )
    assert "one at a time, in the order of their numbers" in words(sequential)
    assert "2 two" not in nodes(parallel)["two"]
    assert "do not wait for each other run in parallel" in words(parallel)


def test_the_approver_sees_the_graph_above_the_steps_it_links_to(
    proposer, operator
) -> None:
    gate = open_gate(proposed(DIAMOND, proposer))

    page = signed_in(operator).get(f"/gates/{gate.pk}")

    found, shown = nodes(page), page.content.decode()
    assert found["deploy"].startswith("#step-3 ")
    assert 'id="step-3"' in shown
    assert shown.index('data-testid="graph"') < shown.index('id="gate-plan"')


def test_a_step_gate_has_no_graph(proposer, operator) -> None:
    run = proposed(plan(step("only", approval=True)), proposer)
    decided(open_gate(run), operator)

    page = signed_in(operator).get(f"/gates/{open_gate(run, 'only').pk}")

    assert rows(page, "graph") == 0


def test_a_large_graph_is_drawn_on_request(proposer, operator, monkeypatch) -> None:
    monkeypatch.setattr(graph, "AT_ONCE", 3)
    run = proposed(DIAMOND, proposer)
    gate = open_gate(run)
    by_proposer, by_operator = signed_in(proposer), signed_in(operator)

    check = by_proposer.post("/plans/check", {"text": DIAMOND})
    checked = by_proposer.post("/plans/check", {"text": DIAMOND, "graph": "all"})
    asked = by_operator.get(f"/gates/{gate.pk}")
    shown = by_operator.get(f"/gates/{gate.pk}?graph=all")
    of_run = by_operator.get(f"/runs/{run.pk}?view=graph")

    for page in (check, asked):
        assert nodes(page) == {}
        assert rows(page, "graph-show") == 1
    for page in (checked, shown, of_run):
        assert len(nodes(page)) == 4
        assert rows(page, "graph-show") == 0
    assert "?seen=requested-0-0&graph=all" in shown.content.decode().replace(
        "&amp;", "&"
    )


def test_a_run_of_too_many_steps_is_not_drawn_and_gets_no_states(
    proposer, operator, monkeypatch
) -> None:
    run = approved(DIAMOND, proposer, operator)
    monkeypatch.setattr(graph, "MOST", 3)
    monkeypatch.setattr(frames, "MOST", 3)

    page = signed_in(operator).get(f"/runs/{run.pk}?view=graph")
    frame = frames.snapshot(
        LivePage(run.pk, "graph"), Cursor(), by=operator.actor(), at=clock.now()
    )

    assert nodes(page) == {}
    assert "too many steps to draw (max" in words(page)
    assert 'id="node-' not in frame.html


def test_the_run_page_draws_states_and_links_to_steps(
    proposer, operator, worker
) -> None:
    run = driven(approved(DIAMOND, proposer, operator), worker)

    page = signed_in(operator).get(f"/runs/{run.pk}?view=graph")

    found = nodes(page)
    assert found["build"].startswith(f"/runs/{run.pk}/steps/build ")
    size = f'width="{graph.WIDTH}" height="{graph.HEIGHT}"><a class="graph-node"'
    assert page.content.decode().count(size) == 4
    assert "Succeeded" in found["scan"]
    assert "Waiting for approval" in found["deploy"]
    assert "Low risk" in found["deploy"]
    assert rows(page, "step-build") == 0


def test_a_frame_has_the_states_that_changed_and_nothing_of_the_drawing(
    proposer, operator, worker
) -> None:
    run = approved(DIAMOND, proposer, operator)
    head, by = audit.head(run.stream), operator.actor()
    live = LivePage.of(run.pk, {"view": "graph"})
    driven(run, worker)
    page = signed_in(operator).get(f"/runs/{run.pk}?view=graph").content.decode()

    frame = frames.since(live, Cursor(head), by=by, at=clock.now())
    redrawn = frames.snapshot(live, Cursor(), by=by, at=clock.now())

    assert frame is not None
    for one in (frame, redrawn):
        states = dict(re.findall(r'id="(node-\d)" data-state="(\w+)"', one.html))
        lines = dict(re.findall(r'id="(line-\d)" data-state="(\w+)"', one.html))
        assert list(states.values()) == ["succeeded"] * 3 + ["gated"]
        assert list(lines.values()) == list(states.values())
        assert not re.search(r"<(?:svg|path|foreignObject)\b[^>]*\b[dx]=", one.html)
        assert "graph-node" not in one.html
        assert 'id="head-0"' not in one.html
    for part in re.findall(r'id="([\w-]+)"[^>]*hx-swap-oob', redrawn.html):
        assert f'id="{part}"' in page


def test_one_change_sends_the_state_of_one_step(proposer, operator, worker) -> None:
    run = driven(approved(DIAMOND, proposer, operator), worker)
    head = audit.head(run.stream)
    decided(open_gate(run, "deploy"), operator)

    frame = frames.since(
        LivePage(run.pk, "graph"), Cursor(head), by=operator.actor(), at=clock.now()
    )

    assert frame is not None
    assert re.findall(r'id="(node-\d)"', frame.html) == ["node-3"]


def test_names_that_deceive_are_marked_in_the_graph(proposer, operator) -> None:
    name = "pay\u202eload <script>"
    run = proposed(plan(step("only", name=name)), proposer)

    page = signed_in(operator).get(f"/runs/{run.pk}?view=graph").content.decode()

    drawn = page[page.index('data-testid="graph"') :]
    assert "<script>" not in drawn
    assert "\u202e" not in drawn
    assert "shown-mark" in drawn


def test_a_choice_is_drawn_before_the_steps_it_chooses(proposer) -> None:
    route = {
        "id": "route",
        "kind": "choose",
        "choose": [{"if": "1 < 2", "then": ["deep"]}, {"else": []}],
    }
    text = plan(step("deep"), route, parallel=True)

    page = signed_in(proposer).post("/plans/check", {"text": text})

    found = nodes(page)
    assert list(found) == ["route", "deep"]
    assert "choose" in found["route"]
    assert page.content.decode().count('marker-end="url(#graph-tip)"') == 1
    assert "if chosen" in words(page)
