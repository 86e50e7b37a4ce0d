"""Sub-plans on pages and in the API: the check, the gate, the run, its steps."""

import pytest

from execfabric.lib import clock
from orchestration.plans.services import saving
from tests.api_builders import Caller, token_of
from tests.builders import approved, decided, driven, open_gate, plan, proposed, step
from tests.console_builders import signed_in, words

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry")]

INPUTS = {"properties": {"word": {"type": "string"}}, "required": ["word"]}
INNER = plan(
    step(
        "make", "risky", params={"value": "$inputs.word"}, approval={"reason": "Look"}
    ),
    step("make-again", after="make", params={"value": "$make.output.value!"}),
    id="inner",
    name="Inner plan",
    inputs=INPUTS,
    outputs={"said": "$make-again.output.value"},
)
SUB = {"id": "sub", "kind": "plan", "plan": "inner", "inputs": {"word": "hello"}}
OUTER = plan(
    SUB,
    step("make", after="sub", params={"value": "$sub.output.said"}),
    outputs={"final": "$make.output.value"},
)


@pytest.fixture
def saved(proposer):
    return saving.save_plan(text=INNER, by=proposer.actor(), at=clock.now())


@pytest.mark.usefixtures("saved")
def test_the_check_lists_the_steps_and_gates_inside(proposer) -> None:
    page = words(signed_in(proposer).post("/plans/check", {"text": OUTER}))

    assert "4 steps, in this order" in page
    assert "sub inner revision 1 sub/make sub/make-again make" in page
    assert "Before sub/make" in page
    assert "2 steps inside" in page


@pytest.mark.usefixtures("saved")
def test_the_page_of_a_plan_shows_outputs_and_users(proposer) -> None:
    saving.save_plan(text=plan(SUB, id="outer"), by=proposer.actor(), at=clock.now())
    client = signed_in(proposer)
    inner, outer = (words(client.get(f"/plans/{key}")) for key in ("inner", "outer"))

    assert "Used by outer" in inner
    assert "$make-again.output.value" in inner
    assert "plan inner" in outer
    assert "high" in outer


@pytest.mark.usefixtures("saved")
def test_the_plan_gate_shows_what_runs_inside(proposer, operator) -> None:
    run = proposed(OUTER, proposer)
    page = words(signed_in(operator).get(f"/gates/{open_gate(run).pk}"))

    assert "Runs plan inner revision 1" in page
    assert "sub/make" in page
    assert "2 steps inside" in page


@pytest.mark.usefixtures("saved")
def test_the_pages_of_a_run_nest_the_steps_inside(proposer, operator, worker) -> None:
    run = driven(approved(OUTER, proposer, operator), worker)
    client = signed_in(operator)
    gate = open_gate(run, "make")

    page = words(client.get(f"/gates/{gate.pk}"))
    assert "sub/make" in page
    assert "Look" in page
    for view in ("", "?view=graph", "?view=events", "?view=plan"):
        assert client.get(f"/runs/{run.pk}{view}").status_code == 200
    page = words(client.get(f"/runs/{run.pk}"))
    assert "0 of 2 steps succeeded, 1 waiting for approval" in page
    assert "sub/make" in words(client.get(f"/runs/{run.pk}?view=events"))
    sub = run.steps.get(key="sub")
    inner = run.steps.get(key="make", parent=sub)
    page = words(client.get(f"/runs/{run.pk}/steps/sub"))
    assert "Steps of inner revision 1" in page
    assert "make-again" in page
    page = words(client.get(f"/runs/{run.pk}/steps/{inner.pk}"))
    assert "Parameters" in page
    assert "hello" in page
    assert client.get(f"/runs/{run.pk}/steps/{sub.pk}").status_code == 200
    assert client.get(f"/runs/{run.pk}/steps/{inner.pk}/log").status_code in {200, 404}


@pytest.mark.usefixtures("saved")
def test_the_api_lists_the_steps_inside_and_the_output(
    proposer, operator, worker
) -> None:
    run = driven(approved(OUTER, proposer, operator), worker)
    decided(open_gate(run, "make"), operator)
    run = driven(run, worker)
    found = Caller(token_of(operator)).get(f"runs/{run.pk}").json()

    sub, last = found["steps"]
    assert (sub["id"], sub["plan"], sub["revision"]) == ("sub", "inner", 1)
    assert [each["id"] for each in sub["items"]] == ["make", "make-again"]
    assert sub["items"][0]["step_run_id"] == str(
        run.steps.get(key="make", parent__key="sub").pk
    )
    assert last["items"] == []
    assert found["output"] == {"final": "hello!"}
    page = words(signed_in(operator).get(f"/runs/{run.pk}"))
    assert "final" in page
    stored = signed_in(operator).get(f"/runs/{run.pk}/output.json").content
    assert stored == b'{"final":"hello!"}'


@pytest.mark.usefixtures("saved")
def test_a_saved_plan_in_the_api_has_outputs_and_users(proposer) -> None:
    saving.save_plan(text=plan(SUB, id="outer"), by=proposer.actor(), at=clock.now())
    found = Caller(token_of(proposer)).get("plans/inner").json()

    assert found["outputs"] == {"said": "$make-again.output.value"}
    assert found["used_by"] == ["outer"]


@pytest.mark.usefixtures("saved")
def test_the_editor_knows_saved_plans(proposer) -> None:
    found = signed_in(proposer).get("/plans/vocabulary").json()["plans"]

    assert [each["id"] for each in found] == ["inner"]


def test_the_steps_of_each_item_have_their_own_pages(
    proposer, operator, worker
) -> None:
    text = INNER.replace('"risky"', '"echo"').replace(
        ', "approval": {"reason": "Look"}', ""
    )
    saving.save_plan(text=text, by=proposer.actor(), at=clock.now())
    each = SUB | {"id": "each", "forEach": ["x", "y"], "inputs": {"word": "$item"}}
    run = driven(approved(plan(each), proposer, operator), worker)
    client = signed_in(operator)

    assert run.state == "succeeded"
    item = run.steps.get(key="each", item=1)
    inner = run.steps.get(key="make", parent=item)
    page = words(client.get(f"/runs/{run.pk}/steps/{inner.address}"))
    assert "each [1]" in page
    assert "y" in page
    page = words(client.get(f"/runs/{run.pk}/steps/{item.address}"))
    assert "make-again" in page
    for view in ("", "?view=graph", "?view=events"):
        assert client.get(f"/runs/{run.pk}{view}").status_code == 200
    found = Caller(token_of(operator)).get(f"runs/{run.pk}").json()["steps"]
    assert found[0]["items"][1]["items"][0]["output"] == {"value": "y"}
    assert found[0]["items"][1]["plan"] == "inner"
