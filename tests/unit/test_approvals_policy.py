"""Which people an action needs, by rule."""

from typing import Any

import pytest

from approvals.domain.policy import ActionFacts, Demand, Rule, demands
from approvals.domain.seats import Requirement

ONE_OPERATOR = (Requirement("operator", 1),)


def an_action(risk="low", skill="files", action="publish", effect="non_idempotent"):
    return ActionFacts(skill=skill, action=action, risk=risk, effect_class=effect)


def a_rule(name="rule", requirements=ONE_OPERATOR, **fields) -> Rule:
    known: dict[str, Any] = {"version": 1, "order": 100, "reason": f"{name} says so."}
    return Rule(name=name, requirements=requirements, **(known | fields))


@pytest.mark.parametrize(
    ("risk", "needed"),
    [
        pytest.param("low", False, id="low"),
        pytest.param("medium", False, id="medium"),
        pytest.param("high", True, id="high"),
        pytest.param("critical", True, id="critical"),
        pytest.param("", True, id="undeclared counts as critical"),
        pytest.param("harmless", True, id="an unknown word counts as critical"),
    ],
)
def test_without_policies_the_risk_decides(risk, needed) -> None:
    assert demands(an_action(risk), []).needed is needed


def test_the_default_asks_one_operator_and_names_the_risk() -> None:
    assert demands(an_action("high"), []) == Demand(
        requirements=ONE_OPERATOR,
        reasons=("The risk of files publish is high.",),
        versions=("default@1",),
    )


@pytest.mark.parametrize(
    ("fields", "applies"),
    [
        pytest.param({}, True, id="everything"),
        pytest.param({"skill": "files"}, True, id="this skill"),
        pytest.param({"skill": "data"}, False, id="another skill"),
        pytest.param({"skill": "files", "action": "publish"}, True, id="this action"),
        pytest.param({"action": "collect"}, False, id="another action"),
        pytest.param({"risk_at_least": "low"}, True, id="lower threshold"),
        pytest.param({"risk_at_least": "medium"}, True, id="its own risk"),
        pytest.param({"risk_at_least": "high"}, False, id="higher threshold"),
        pytest.param({"effect_class": "non_idempotent"}, True, id="this effect"),
        pytest.param({"effect_class": "pure"}, False, id="another effect"),
    ],
)
def test_a_rule_applies_to_what_it_names(fields, applies) -> None:
    demand = demands(an_action("medium"), [a_rule(**fields)])

    assert demand.needed is applies
    assert bool(demand.versions) is applies


def test_matching_rules_add_up_in_their_order() -> None:
    legal = a_rule(
        "legal", (Requirement("legal", 1),), order=2, version=4, expires_after_s=600
    )
    two = a_rule("two", (Requirement("operator", 2),), order=1, expires_after_s=60)
    plain = a_rule("plain", ONE_OPERATOR, order=3)

    assert demands(an_action("medium"), [legal, plain, two]) == Demand(
        requirements=(Requirement("operator", 2), Requirement("legal", 1)),
        reasons=("two says so.", "legal says so.", "plain says so."),
        versions=("two@1", "legal@4", "plain@1"),
        expires_after_s=60,
    )


def test_a_policy_says_who_is_asked_for_high_risk_and_the_risk_stays_a_reason() -> None:
    demand = demands(
        an_action("critical"), [a_rule("admins", (Requirement("admin", 2),))]
    )

    assert demand.requirements == (Requirement("admin", 2),)
    assert demand.reasons == (
        "The risk of files publish is critical.",
        "admins says so.",
    )


def test_what_the_plan_asks_is_added_to_what_policies_ask() -> None:
    demand = demands(an_action("high"), [])

    more = demand.also([Requirement("legal", 1)], reason="Customers will see this.")

    assert more.requirements == (*ONE_OPERATOR, Requirement("legal", 1))
    assert more.reasons[-1] == "Customers will see this."
    assert Demand().also(ONE_OPERATOR, reason="The plan asks.").needed
