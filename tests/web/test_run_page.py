"""The list of runs and the page of one: what is shown, and to whom."""

import re

import pytest

from audit import selectors as audit
from execfabric.identity import services as accounts
from execfabric.identity.models import User
from execfabric.lib import clock
from execfabric.lib.actor import system
from orchestration.runs.control import proposals
from orchestration.runs.domain.results import Failure
from tests.builders import (
    approved,
    claimed,
    completed,
    driven,
    open_gate,
    plan,
    proposed,
    step,
)
from tests.console_builders import codes, rows, signed_in, words
from tests.web.run_builders import (
    AIM,
    FAILING,
    GATED,
    TWO_STEPS,
    element,
    page_of,
    step_of,
)

pytestmark = pytest.mark.usefixtures("registry")


def test_the_page_shows_every_step_from_the_start(proposer) -> None:
    run = proposed(GATED, proposer)
    client = signed_in(proposer)

    page = page_of(run, client)
    second = step_of(run, "second", client)

    assert rows(page, "step-first") == rows(page, "step-second") == 1
    assert page.content.decode().count('data-state="pending"') >= 2
    assert "0 of 2 steps" in words(page)
    assert "Parameters (references not resolved yet)" in words(second)
    assert "$first.output.word" in words(second)


def test_the_page_says_what_is_waited_for_by_whom_and_where(proposer, operator) -> None:
    run = proposed(TWO_STEPS, proposer)

    page = page_of(run, signed_in(operator))

    waits = element(page, "run-waits")
    assert "The plan is waiting for approval" in waits
    assert "operator 0 of 1" in waits
    assert f"/gates/{open_gate(run).pk}" in waits


@pytest.mark.promise("S0.9")
def test_after_the_work_values_outputs_and_attempts_are_there(
    proposer, operator, worker
) -> None:
    run = driven(approved(TWO_STEPS, proposer, operator), worker)

    client = signed_in(proposer)
    page = page_of(run, client)
    first, second = (step_of(run, key, client) for key in ("first", "second"))

    assert run.state == "succeeded"
    assert "2 of 2 steps" in words(page)
    for details in (first, second):
        assert "Parameters Parameters" in words(details)
        assert "word hello" in words(details)
        assert "Attempts" in words(details)
    assert rows(second, "step-output-second") == 1


def test_a_failure_says_what_happened_whether_anything_ran_and_what_to_do(
    proposer, operator, worker
) -> None:
    run = driven(approved(FAILING, proposer, operator), worker)

    error = element(step_of(run, "only", signed_in(operator)), "body-0")
    assert "The target said no." in error
    assert "Nothing was changed: this action is read-only." in error
    assert "Fix the cause." in error
    assert "lab.refused" in error


@pytest.mark.parametrize(
    ("on_failure", "advice"),
    [
        ("pause", "Resume the run to retry this step."),
        ("continue", "The run continues without this step."),
        ("abort", "The run ends as failed after its running steps finish."),
    ],
)
def test_the_advice_on_a_failure_is_what_the_plan_says(
    on_failure, advice, proposer, operator
) -> None:
    text = plan(step("bad"), step("busy"), parallel=True, onFailure=on_failure)
    run = approved(text, proposer, operator)
    bad, _ = claimed(run, "bad"), claimed(run, "busy")
    completed(bad, Failure("lab.refused", "The target said no."))

    assert advice in words(step_of(run, "bad", signed_in(operator)))


@pytest.mark.parametrize(
    "part",
    [
        "",
        "/live",
        "/verified",
        "/inputs.json",
        "/plan.yaml",
        "/steps/first",
        "/steps/first/log",
        "/steps/first/params.json",
    ],
)
def test_whoever_may_not_see_a_run_is_told_that_there_is_none(
    proposer, stranger, part
) -> None:
    run = proposed(TWO_STEPS, proposer)

    answer = signed_in(stranger).get(f"/runs/{run.pk}{part}")

    assert answer.status_code == 404
    assert codes(answer) == ["run.unknown"]


def test_the_list_shows_ones_own_runs_and_those_of_ones_agents(
    proposer, operator, stranger
) -> None:
    agent, _ = accounts.create_agent(
        name="planner", owner="proposer", by=system("test"), at=clock.now()
    )
    proposed(TWO_STEPS, proposer)
    proposals.propose(text=TWO_STEPS, inputs={}, by=agent.actor(), at=clock.now())

    assert rows(signed_in(proposer).get("/runs"), "run-row") == 2
    assert rows(signed_in(operator).get("/runs"), "run-row") == 2
    assert rows(signed_in(stranger).get("/runs"), "run-row") == 0


def test_an_agents_run_names_the_agent_and_whoever_answers_for_it(proposer) -> None:
    agent, _ = accounts.create_agent(
        name="planner", owner="proposer", by=system("test"), at=clock.now()
    )
    run = proposals.propose(text=TWO_STEPS, inputs={}, by=agent.actor(), at=clock.now())

    text = words(page_of(run, signed_in(proposer)))

    assert "planner agent for proposer" in text


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param({"state": "awaiting_approval"}, 1, id="its state"),
        pytest.param({"state": "succeeded"}, 0, id="another state"),
        pytest.param({"state": "no-such-state"}, 1, id="no state at all"),
        pytest.param({"plan": "laboratory"}, 1, id="part of the name"),
        pytest.param({"plan": "elsewhere"}, 0, id="another name"),
        pytest.param({"proposer": "prop"}, 1, id="part of the proposer"),
        pytest.param({"before": "not-an-id"}, 1, id="a cursor that is none"),
    ],
)
def test_the_list_is_filtered_by_the_address(proposer, query, expected) -> None:
    proposed(TWO_STEPS, proposer)

    assert rows(signed_in(proposer).get("/runs", query), "run-row") == expected


def test_list_and_home_need_few_queries_however_long_they_are(
    proposer, operator, django_assert_max_num_queries
) -> None:
    for _ in range(6):
        proposed(TWO_STEPS, proposer)
    client = signed_in(operator)

    with django_assert_max_num_queries(AIM):
        client.get("/runs")
    # Two more: for the schedules that could not propose their run, and for the alerts
    # that could not be sent.
    with django_assert_max_num_queries(AIM + 2):
        client.get("/")


def test_the_events_are_there_in_order_and_each_once(
    proposer, operator, worker
) -> None:
    run = driven(approved(GATED, proposer, operator), worker)

    page = page_of(run, signed_in(operator), view="events")

    shown = re.findall(r'id="ev-(\d+)"', page.content.decode())
    assert [int(seq) for seq in shown] == list(range(1, audit.head(run.stream) + 1))


def test_the_record_of_the_run_is_checked_for_the_badge(proposer, operator) -> None:
    run = approved(TWO_STEPS, proposer, operator)
    count = audit.head(run.stream)

    badge = signed_in(operator).get(f"/runs/{run.pk}/verified")

    assert f"Trace verified: {count} events" in words(badge)


def test_a_hostile_name_is_shown_and_not_obeyed(proposer) -> None:
    text = plan(
        step("first", name='<img src=x onerror="x()">\u202egnp'), name="<b>Plan</b>"
    )
    run = proposed(text, proposer)

    page = page_of(run, signed_in(proposer)).content.decode()

    assert "<img src=x" not in page
    assert "<b>Plan</b>" not in page
    assert "U+202E" in page


@pytest.fixture
def people(proposer: User, operator: User) -> dict[str, User]:
    """Who proposes and who decides, by role."""
    return {"proposer": proposer, "operator": operator}


@pytest.mark.parametrize(
    ("fields", "role", "most"),
    [
        pytest.param({}, "proposer", AIM + 2, id="its proposer"),
        # Its frame shows an operator what waits in the inbox.
        pytest.param({}, "operator", AIM + 2, id="an operator"),
        pytest.param({"approval": {}}, "operator", AIM + 4, id="thirty open gates"),
    ],
)
def test_the_page_of_a_run_needs_few_queries_however_many_steps_it_has(
    fields, role, most, people, django_assert_max_num_queries
) -> None:
    steps = [step(f"s{n}", params={"n": n}, **fields) for n in range(30)]
    text = plan(*steps, parallel={"max": 30})
    run = approved(text, people["proposer"], people["operator"])
    client = signed_in(people[role])

    with django_assert_max_num_queries(most):
        page = page_of(run, client)

    assert words(page).count("is waiting for approval") == (30 if fields else 0)
