"""Lists: what cannot be expanded, gates and limits of items, and their cost."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from approvals.models import Gate
from execfabric.lib import canonical, clock
from orchestration.plans.services import saving
from orchestration.runs.control import control
from orchestration.runs.domain.results import Finished
from orchestration.runs.engine import containers, specs
from tests.builders import (
    approved,
    claimed,
    completed,
    decided,
    driven,
    plan,
    proposed,
    step,
)
from tests.calls import cost_of_completing
from tests.integration.item_builders import (
    FAILED,
    claim,
    container,
    each,
    end,
    item_states,
    items_of,
)
from tests.record import is_whole

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]


def test_each_item_opens_its_own_gate_with_exactly_what_will_run(
    proposer, operator, worker
):
    text = plan(each(action="risky", params={"value": "$letter"}), parallel=True)
    run = approved(text, proposer, operator)

    gates = sorted(
        Gate.objects.filter(context_id=run.id, step="each"), key=lambda g: g.label
    )

    assert [gate.label for gate in gates] == [
        'each [0]: "a"',
        'each [1]: "b"',
        'each [2]: "c"',
    ]
    subject = canonical.loads(bytes(gates[1].subject))
    assert subject["params"] == {"value": "b"}
    assert (subject["item"], subject["item_value"]) == (1, "b")
    for gate in gates:
        decided(gate, operator)
    run = driven(run, worker)
    assert run.state == "succeeded"
    assert is_whole(run)


def test_a_rejected_item_ends_the_run_like_a_rejected_step(proposer, operator):
    run = approved(plan(each(action="risky"), parallel=True), proposer, operator)
    gate = Gate.objects.get(context_id=run.id, label__startswith="each [1]")

    decided(gate, operator, approve=False)

    run.refresh_from_db()
    assert (run.state, run.reason) == ("rejected", "Step each [1] was rejected.")
    assert item_states(run) == ["cancelled", "rejected", "cancelled"]
    assert container(run).state == "cancelled"
    assert not Gate.objects.filter(context_id=run.id, status="requested").exists()
    assert is_whole(run)


def test_a_failure_withdraws_the_gates_of_the_items_that_have_not_started(
    proposer, operator
):
    text = plan(each(action="risky"), parallel=True)
    run = approved(text, proposer, operator)
    decided(Gate.objects.get(context_id=run.id, label__startswith="each [0]"), operator)

    end(run, 0, FAILED)

    assert item_states(run) == ["failed", "skipped", "skipped"]
    assert not Gate.objects.filter(context_id=run.id, status="requested").exists()
    control.resume(run_id=run.id, by=operator.actor(), at=clock.now())
    assert item_states(run) == ["gated", "gated", "gated"]
    assert is_whole(run)


def test_a_limit_of_items_holds_also_for_those_approved_together(proposer, operator):
    text = plan(each(action="risky", max=2), step("other"), parallel=True)
    run = approved(text, proposer, operator)
    assert item_states(run) == ["gated", "gated", "gated"]
    for gate in Gate.objects.filter(context_id=run.id, step="each"):
        decided(gate, operator)

    leases = [claim(run, item) for item in range(3)]

    assert [lease is not None for lease in leases] == [True, True, False]
    assert run.steps.get(key="other").state == "ready"


def test_a_limit_of_items_releases_the_next_one_when_one_has_finished(
    proposer, operator
):
    text = plan(each(max=1), parallel={"max": 3})
    run = approved(text, proposer, operator)
    seen = [item_states(run)]

    for item in range(2):
        end(run, item)
        seen.append(item_states(run))

    assert seen == [
        ["ready", "pending", "pending"],
        ["succeeded", "ready", "pending"],
        ["succeeded", "succeeded", "ready"],
    ]


@pytest.mark.parametrize(
    ("value", "code", "message"),
    [
        ("text", "step.for_each_invalid", "forEach must be a list, not text"),
        ({"a": 1}, "step.for_each_invalid", "forEach must be a list, not an object"),
        (None, "step.for_each_invalid", "forEach must be a list, not null"),
        (3, "step.for_each_invalid", "forEach must be a list, not a number"),
        ([0] * 1001, "step.too_many_items", "has 1,001 items (max 1,000)"),
        ([0] * 10**6, "step.too_many_items", "has 1,000,000 items (max 1,000)"),
        ([1], "step.for_each_invalid", "2 items must succeed, but the list has 1"),
    ],
)
def test_a_list_that_cannot_be_used_fails_the_step(
    proposer, operator, value, code, message
):
    text = plan(
        step("list"),
        each(after="list", forEach="$list.output.value", join={"atLeast": 2}),
        parallel=True,
    )
    run = approved(text, proposer, operator)

    completed(claimed(run, "list"), Finished({"value": value}, {}))

    run.refresh_from_db()
    assert container(run).state == "failed"
    assert container(run).error["code"] == code
    assert message in container(run).error["message"]
    assert items_of(run) == []
    assert run.state == "paused"


def cost(proposer, operator, length):
    """Return how many calls an item costs in the middle of a list."""
    run = approved(plan(each(forEach=["x"] * length)), proposer, operator)
    return cost_of_completing(run.steps.get(key="each", item=0), length // 2)


def test_an_item_costs_no_more_in_a_long_list(proposer, operator):
    short, long = cost(proposer, operator, 8), cost(proposer, operator, 160)

    assert long < 1.1 * short


def test_a_dry_run_covers_the_first_items_of_a_list(proposer):
    text = plan(
        each(forEach=[*range(12)]),
        step("list", params={"value": [1]}),
        each("next", after="list", forEach="$list.output.value"),
        each("unknown", after="each", forEach="$each.output.items"),
    )

    report = proposed(text, proposer).dry_run.report

    found = {one["step"]: one for one in report["steps"]}
    assert (
        found["each"]["summary"] == "Runs once for each of 12 items. Echo the params."
    )
    assert found["each"]["notes"] == ["Only the first 10 items were dry-run."]
    assert found["next"]["summary"] == "Runs once for each of 1 item. Echo the params."
    assert found["unknown"]["verdict"] == "not_dry_run"
    assert "known during the run" in found["unknown"]["summary"]


def test_lists_share_the_limit_of_the_steps_of_a_run(proposer, operator, monkeypatch):
    text = plan(
        step("list"), each(after="list", forEach="$list.output.value"), parallel=True
    )
    run = approved(text, proposer, operator)
    monkeypatch.setattr(containers, "MAX_STEP_RUNS", 10)

    completed(claimed(run, "list"), Finished({"value": [0] * 9}, {}))

    assert container(run).error["code"] == "step.too_many_steps"
    assert items_of(run) == []


def test_items_whose_parameters_are_too_large_together_fail_alone(
    proposer, operator, worker, monkeypatch
):
    monkeypatch.setattr(specs, "MAX_SPECS", 50_000)
    text = plan(
        step("list"),
        each(after="list", forEach="$list.output.value", onItemError="continue"),
        parallel=True,
    )
    run = approved(text, proposer, operator)

    values = ["x" * 10_000] * 3
    lease = completed(claimed(run, "list"), Finished({"value": values}, {}))

    assert [item.state for item in items_of(run)] == ["running", "ready", "failed"]
    assert items_of(run)[2].error["code"] == "step.params_too_large"
    completed(completed(lease))
    control.resume(run_id=run.id, by=operator.actor(), at=clock.now())
    assert driven(run, worker).state == "succeeded"
    assert is_whole(run)


def test_gates_of_items_read_the_sub_plans_of_a_run_once(proposer, operator):
    inner = plan(step("s"), id="inner")
    saving.save_plan(text=inner, by=proposer.actor(), at=clock.now())
    text = plan(
        step("list"),
        each(after="list", approval=True),
        {"id": "sub", "kind": "plan", "plan": "inner", "dependsOn": ["each"]},
        parallel=True,
    )
    lease = claimed(approved(text, proposer, operator), "list")

    with CaptureQueriesContext(connection) as captured:
        completed(lease)

    read = [one for one in captured if 'FROM "plans_planrevision"' in one["sql"]]
    assert len(read) == 1
