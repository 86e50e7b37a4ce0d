"""Sub-plans before a run: who may use a saved plan, what is shown, compared, offered."""

import pytest

from execfabric.identity.models import User
from execfabric.lib import clock
from orchestration.plans import selectors
from orchestration.plans.models import Plan, PlanRevision
from orchestration.plans.services import check, comparing, saving
from orchestration.plans.services.vocabulary import saved_plans
from tests.builders import may_start, plan, proposed, step

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry")]

INPUTS = {"properties": {"word": {"type": "string"}}, "required": ["word"]}


def inner(*steps: dict, **fields: object) -> str:
    steps = steps or (step("make", params={"value": "$inputs.word"}),)
    made = {"inputs": INPUTS, "outputs": {"said": "$make.output.value"}}
    return plan(*steps, id="inner", name="Inner plan", **made | fields)


def uses(name: str = "inner", key: str = "sub") -> dict:
    return {"id": key, "kind": "plan", "plan": name, "inputs": {"word": "x"}}


OUTER = plan(uses(), step("use", after="sub", params={"value": "$sub.output.said"}))


def save(text: str, by: User) -> PlanRevision:
    return saving.save_plan(text=text, by=by.actor(), at=clock.now())


def codes(text: str, by: User) -> list[str]:
    found = check.check(text=text, inputs={}, by=by.actor()).problems
    return [each.code for each in found]


def test_the_newest_revision_is_fixed_when_a_plan_is_checked(proposer) -> None:
    first = save(inner(), proposer)
    second = save(inner(description="Newer"), proposer)
    checked = check.check(text=OUTER, inputs={}, by=proposer.actor())
    pinned = check.check(
        text=plan(uses("inner@1"), step("b")), inputs={}, by=proposer.actor()
    )

    assert checked.problems == []
    assert checked.pins["sub"]["digest"] == second.digest
    assert pinned.pins["sub"] == {
        "plan": "inner",
        "revision": 1,
        "revision_id": str(first.pk),
        "digest": first.digest,
    }
    assert checked.paths == ["sub", "sub/make", "use"]
    assert checked.places[0] == ("sub", "inner revision 2")


def test_gates_of_steps_inside_are_listed_by_path(proposer) -> None:
    save(inner(step("make", "risky", params={"value": "$inputs.word"})), proposer)
    checked = check.check(text=OUTER, inputs={}, by=proposer.actor())

    assert [gate.step for gate in checked.gates] == [None, "sub/make"]


def test_only_plans_that_the_proposer_may_start_can_be_used(
    proposer, operator, admin
) -> None:
    save(inner(), operator)

    assert codes(OUTER, proposer) == ["plan.unknown_plan"]
    # Admins see every plan, but seeing it is not enough.
    assert codes(OUTER, admin) == ["plan.not_permitted"]
    may_start(proposer, "inner")
    assert codes(OUTER, proposer) == []


def test_a_plan_inside_a_plan_needs_the_right_too(proposer, operator) -> None:
    save(inner(), operator)
    save(plan(uses(), id="middle"), operator)
    may_start(proposer, "middle")
    text = plan({"id": "m", "kind": "plan", "plan": "middle"})
    [problem] = check.check(text=text, inputs={}, by=proposer.actor()).problems

    assert problem.code == "plan.subplan_invalid"
    assert "middle revision 1, step 'sub'" in problem.message


def test_a_plan_that_would_contain_itself_is_not_saved(proposer) -> None:
    save(inner(), proposer)
    save(plan(uses(), id="outer"), proposer)
    text = inner(step("make"), {"id": "loop", "kind": "plan", "plan": "outer"})
    [problem] = check.check(text=text, inputs=None, by=proposer.actor()).problems

    assert problem.code == "plan.subplan_invalid"
    assert "inner -> outer -> inner" in problem.message


def test_a_plan_page_lists_the_visible_plans_that_use_it(proposer, operator) -> None:
    save(inner(), proposer)
    may_start(operator, "inner")
    save(plan(uses(), uses("inner@1", "again"), id="outer"), proposer)
    row = Plan.objects.get(slug="inner")
    used = selectors.containing(proposer.actor(), row)

    assert [(use.plan.slug, use.steps) for use in used] == [("outer", ("sub", "again"))]
    stranger = User.objects.create_user("stranger")
    assert selectors.containing(stranger.actor(), row) == []


def test_revisions_are_compared_with_the_risk_inside(proposer) -> None:
    save(inner(), proposer)
    save(inner(step("make", "risky", params={"value": "$inputs.word"})), proposer)
    before = save(plan(uses("inner@1"), id="outer"), proposer)
    after = save(plan(uses("inner@2"), id="outer"), proposer)
    difference = comparing.compare(before, after, by=proposer.actor())
    [changed] = difference.steps

    assert [(f.field, f.before, f.after) for f in changed.fields] == [
        ("plan", "inner@1", "inner@2")
    ]
    assert changed.risk is not None
    assert (changed.risk.before, changed.risk.after) == ("low", "high")
    assert changed.gate is not None
    assert changed.gate.before == "none"


def test_the_editor_offers_plans_with_their_inputs_and_outputs(
    proposer, operator
) -> None:
    save(inner(), proposer)
    save(plan(step("a"), id="other"), operator)
    [offered] = saved_plans(by=proposer.actor())

    assert (offered["id"], offered["revision"], offered["outputs"]) == (
        "inner", 1, ["said"],
    )  # fmt: skip
    assert offered["inputs"][0] | {"description": ""} == {
        "name": "word",
        "required": True,
        "type": "string",
        "description": "",
        "choices": [],
    }


def test_the_dry_run_covers_the_steps_inside(proposer) -> None:
    save(
        inner(
            step("make", params={"value": "$inputs.word!"}),
            step("skipped", when='inputs.word == "y"'),
        ),
        proposer,
    )
    unknown = uses(key="late") | {
        "inputs": {"word": "$quiet.output.x"},
        "dependsOn": ["quiet"],
    }
    text = plan(
        uses(),
        step("use", after="sub", params={"value": "$sub.output.said"}),
        step("quiet", "ask"),
        unknown,
    )
    run = proposed(text, proposer)
    steps = {each["step"]: each for each in run.dry_run.report["steps"]}

    assert run.dry_run.steps_total == 8
    assert steps["sub"]["verdict"] == "plan"
    assert steps["sub"]["summary"] == "Runs plan inner revision 1."
    assert steps["sub/make"]["verdict"] == "covered"
    assert steps["sub/skipped"]["verdict"] == "skipped"
    assert steps["use"]["verdict"] == "covered"
    assert steps["late/make"]["summary"] == "It needs the output of an earlier step."
    assert steps["late/skipped"]["verdict"] != "would_fail"
