"""The inbox: what a person can move on, and nothing else."""

import re

import pytest

from approvals.domain.policy import Rule
from approvals.domain.seats import Requirement
from approvals.models import Gate
from approvals.services.policies import publish_policy
from execfabric.identity import services as accounts
from execfabric.lib import clock
from execfabric.lib.actor import system
from orchestration.runs.control import proposals
from tests.builders import decided, open_gate, plan, proposed, step
from tests.console_builders import PLAN, a_run, rows, signed_in, step_gate, words

pytestmark = pytest.mark.usefixtures("registry")
AIM = 12


def test_a_waiting_gate_is_listed_with_who_asks_what_and_how_many(
    proposer, operator
) -> None:
    a_run(proposer)

    page = signed_in(operator).get("/inbox")

    text = words(page)
    assert rows(page, "inbox-row") == 1
    assert "Plan: Hand a value on" in text
    assert "Low risk" in text
    assert "0 of 1" in text
    assert " proposer " in text
    assert reasons(page) == ["Nothing runs before its plan is approved."]


def reasons(page) -> list[str]:
    """Return the reason in each row of the inbox."""
    found = re.findall('data-testid="inbox-reason">(.*?)</span>', page.content.decode())
    return [re.sub("<[^>]+>", "", one) for one in found]


RISKY_PLAN = plan(step("only", "risky", approval={"reason": "The boss said so"}))
HIGH = "The risk of lab risky is high."
PRETENDED = plan(step("only", approval={"reason": "The risk of lab echo is low."}))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(RISKY_PLAN, HIGH, id="the product, of its risk"),
        pytest.param(
            plan(step("only", approval={"reason": "The boss said so"})),
            "Reason from the plan: The boss said so",
            id="the author",
        ),
        pytest.param(
            PRETENDED,
            "Reason from the plan: The risk of lab echo is low.",
            id="the author, in the product's words",
        ),
        pytest.param(
            plan(step("only", approval={})),
            "The plan requires this approval.",
            id="nobody",
        ),
    ],
)
def test_a_reason_says_whose_it_is(text, said, proposer, operator) -> None:
    decided(open_gate(proposed(text, proposer)), operator)

    page = signed_in(operator).get("/inbox")

    assert reasons(page) == [said]


def test_a_rules_reason_names_the_rule(proposer, operator, admin) -> None:
    draft = Rule(
        name="echoes",
        skill="lab",
        requirements=(Requirement("operator", 1),),
        reason="Echoes are loud.",
    )
    publish_policy(draft=draft, by=admin.actor(), at=clock.now())
    decided(open_gate(proposed(plan(step("only")), proposer)), operator)

    page = signed_in(operator).get("/inbox")

    assert reasons(page) == ["Rule echoes@1: Echoes are loud."]


def test_after_the_plan_its_risky_step_waits_in_turn(proposer, operator) -> None:
    step_gate(a_run(proposer), operator)

    page = signed_in(operator).get("/inbox")

    assert rows(page, "inbox-row") == 1
    assert "Step: First hand" in words(page)


def test_an_agents_proposal_names_the_agent_and_whoever_answers_for_it(
    operator, proposer
) -> None:
    agent, _ = accounts.create_agent(
        name="planner", owner="proposer", by=system("test"), at=clock.now()
    )
    proposals.propose(text=PLAN, inputs={"word": "x"}, by=agent.actor(), at=clock.now())

    text = words(signed_in(operator).get("/inbox"))

    assert "planner agent for proposer" in text


def test_what_one_cannot_decide_is_not_in_ones_inbox(operator, second_operator) -> None:
    a_run(operator)

    page = signed_in(operator).get("/inbox")

    assert rows(page, "inbox-row") == 0
    assert "No approvals are waiting for you." in words(page)


def test_who_never_decides_is_told_so(proposer, operator) -> None:
    a_run(proposer)

    text = words(signed_in(proposer).get("/inbox"))

    assert "Your role cannot approve." in text


def test_a_decided_gate_leaves_the_inbox_and_stands_under_decided(
    proposer, operator
) -> None:
    client = signed_in(operator)
    decided(open_gate(a_run(proposer)), operator, approve=False, comment="not today")

    waiting, answered = client.get("/inbox"), client.get("/inbox?tab=decided")

    assert rows(waiting, "inbox-row") == 0
    assert rows(answered, "decided-row") == 1
    assert "not today" in words(answered)
    assert "Rejected" in words(answered)


def test_only_ones_own_decisions_stand_under_decided(
    proposer, operator, second_operator
) -> None:
    decided(open_gate(a_run(proposer)), operator)

    page = signed_in(second_operator).get("/inbox?tab=decided")

    assert rows(page, "decided-row") == 0


def test_htmx_gets_the_list_alone(proposer, operator) -> None:
    a_run(proposer)

    part = signed_in(operator).get("/inbox", headers={"HX-Request": "true"})

    assert "<html" not in part.content.decode()
    assert rows(part, "inbox-row") == 1
    assert "HX-Request" in part["Vary"]


def test_hostile_labels_are_marked(proposer, operator) -> None:
    a_run(proposer)
    plan = PLAN.replace("name: Hand a value on", 'name: "Pay <b>now</b> \\u202Etfel"')
    a_run(proposer, text=plan.replace("hand-on", "hand-on-again"))

    page = signed_in(operator).get("/inbox").content.decode()

    assert "\u202e" not in page
    assert "<b>now" not in page
    assert "⟦U+202E⟧" in page


@pytest.mark.parametrize("before", ["not-an-id", "0"])
def test_a_wrong_page_is_the_first_page(before, operator) -> None:
    page = signed_in(operator).get(f"/inbox?tab=decided&before={before}")

    assert page.status_code == 200


def test_more_gates_make_no_more_queries(
    proposer, operator, django_assert_max_num_queries
) -> None:
    client = signed_in(operator)
    for place in range(6):
        text = PLAN.replace("hand-on", f"hand-on-{place}")
        a_run(proposer, text=text)

    with django_assert_max_num_queries(AIM):
        page = client.get("/inbox")

    assert rows(page, "inbox-row") == Gate.objects.count() == 6
    with django_assert_max_num_queries(AIM):
        client.get("/inbox?tab=decided")
