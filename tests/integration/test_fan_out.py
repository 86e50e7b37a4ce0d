"""A step with forEach runs once for each item of its list."""

import pytest

from audit import selectors as record
from execfabric.lib import clock
from execfabric.lib.ids import span_id
from orchestration.runs.control import control
from orchestration.runs.domain.results import Lost
from orchestration.runs.engine import attempts
from orchestration.runs.engine.loading import RunCache
from orchestration.runs.models import StepRun
from orchestration.runs.pages import items
from tests.builders import (
    DONE,
    approved,
    completed,
    driven,
    plan,
    step,
)
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


def test_a_copy_that_is_older_than_an_item_loses_no_result(proposer, operator):
    run = approved(
        plan(step("first"), each(after="first"), parallel=True), proposer, operator
    )
    old = RunCache(16)
    first = attempts.claim(
        step_run_id=run.steps.get(key="first").id,
        worker="w",
        session=span_id(),
        at=clock.now(),
        cache=old,
    )
    completed(first)
    lease = attempts.claim(
        step_run_id=items_of(run)[2].id, worker="w", session=span_id(), at=clock.now()
    )

    attempts.complete(
        lease, DONE, worker="w", session="", at=clock.now(), cache=old, logged=False
    )

    assert items_of(run)[2].state == "succeeded"


@pytest.mark.parametrize("rule", ["one_success", "all_done", {"atLeast": 2}])
def test_the_trigger_rule_of_a_list_is_not_that_of_its_items(
    proposer, operator, worker, rule
):
    text = plan(
        step("a"), step("b"), each(after=["a", "b"], triggerRule=rule), parallel=True
    )
    run = driven(approved(text, proposer, operator), worker)

    assert run.state == "succeeded"
    assert [item.state for item in items_of(run)] == ["succeeded"] * 3


@pytest.mark.parametrize("parallel", [False, True, {"max": 2}])
def test_the_items_of_a_literal_list_run_and_their_outputs_are_collected(
    proposer, operator, worker, parallel
):
    text = plan(
        each(),
        step("after", after="each", params={"value": "$each.output.items"}),
        parallel=parallel,
    )

    run = driven(approved(text, proposer, operator), worker)

    assert run.state == "succeeded", run.reason
    assert container(run).output == {
        "items": [{"value": "a"}, {"value": "b"}, {"value": "c"}],
        "count": 3,
        "succeeded": 3,
        "failed": [],
    }
    assert [(item.label, item.state) for item in items_of(run)] == [
        ("each [0]", "succeeded"),
        ("each [1]", "succeeded"),
        ("each [2]", "succeeded"),
    ]
    assert len({item.spec_id for item in items_of(run)}) == 3
    assert run.steps.get(key="after").output["value"][2] == {"value": "c"}
    assert is_whole(run)


@pytest.mark.promise("S3.34")
def test_a_list_of_an_earlier_step_is_known_when_the_step_is_released(
    proposer, operator, worker
):
    text = plan(
        step("list", params={"value": [{"name": "x"}, {"name": "y"}]}),
        step(
            "each",
            after="list",
            forEach="$list.output.value",
            **{"as": "port"},
            params={"value": {"is": "$port.name", "at": "$index"}},
        ),
    )
    run = approved(text, proposer, operator)
    assert StepRun.objects.filter(run=run).count() == 2

    run = driven(run, worker)

    assert container(run).output["items"] == [
        {"value": {"is": "x", "at": 0}},
        {"value": {"is": "y", "at": 1}},
    ]
    assert is_whole(run)


def test_a_failure_stops_the_items_that_have_not_started(proposer, operator):
    run = approved(plan(each(), step("after", after="each")), proposer, operator)
    end(run, 0)

    end(run, 1, FAILED)

    assert item_states(run) == ["succeeded", "failed", "skipped"]
    assert container(run).error == {
        "code": "step.items_failed",
        "message": "1 of 3 items failed: 1.",
        "ran": True,
    }
    assert (run.state, run.reason) == ("paused", "Step each failed.")
    assert run.steps.get(key="after").state == "pending"
    assert is_whole(run)


def test_a_resumed_run_tries_only_the_items_again_that_have_no_result(
    proposer, operator
):
    run = approved(plan(each(), step("after", after="each")), proposer, operator)
    end(run, 0)
    end(run, 1, FAILED)

    control.resume(run_id=run.id, by=operator.actor(), at=clock.now())

    assert item_states(run) == ["succeeded", "ready", "pending"]
    assert container(run).state == "expanded"
    for item in (1, 2):
        end(run, item)
    assert container(run).output["failed"] == []
    assert [item.generation for item in items_of(run)] == [1, 2, 1]
    assert run.steps.get(key="after").state == "ready"
    assert is_whole(run)


@pytest.mark.parametrize("mode", ["pause", "abort", "continue"])
@pytest.mark.parametrize(
    ("join", "failing", "ends"),
    [
        ("all", [1], "failed"),
        ("any", [0, 1], "succeeded"),
        ("any", [0, 1, 2], "failed"),
        ({"atLeast": 2}, [1], "succeeded"),
        ({"atLeast": 2}, [0, 1], "failed"),
    ],
)
def test_the_join_decides_when_all_items_have_run(
    proposer, operator, join, failing, ends, mode
):
    text = plan(each(join=join, onItemError="continue"), parallel=True, onFailure=mode)
    run = approved(text, proposer, operator)

    for item in range(3):
        end(run, item, FAILED if item in failing else DONE)

    step_run = container(run)
    assert step_run.state == ends
    if ends == "succeeded":
        assert step_run.output == {
            "items": [None if item in failing else {} for item in range(3)],
            "count": 3,
            "succeeded": 3 - len(failing),
            "failed": failing,
        }
        assert run.state == "succeeded"
    else:
        is_part_done = mode == "continue" and len(failing) < 3
        ended = {"pause": "paused", "abort": "failed", "continue": "failed"}[mode]
        assert run.state == ("partially_succeeded" if is_part_done else ended)
    assert is_whole(run)


def test_items_run_before_later_steps_of_a_plan_in_order(proposer, operator):
    run = approved(plan(each(), step("later")), proposer, operator)

    for item in range(3):
        assert run.steps.get(key="later").state == "pending"
        end(run, item)

    assert run.steps.get(key="later").state == "ready"


def test_a_cancelled_run_cancels_its_items_and_the_step(proposer, operator):
    run = approved(plan(each()), proposer, operator)
    end(run, 0)

    control.cancel(run_id=run.id, by=operator.actor(), at=clock.now())

    run.refresh_from_db()
    assert run.state == "cancelled"
    assert item_states(run) == ["succeeded", "cancelled", "cancelled"]
    assert container(run).state == "cancelled"
    assert is_whole(run)


def test_an_item_with_an_unknown_outcome_pauses_the_run_by_name(proposer, operator):
    run = approved(plan(each()), proposer, operator)

    end(run, 0, Lost("lab.silent", "The target did not answer."))

    assert run.state == "paused"
    assert "step each [0] may or may not" in run.reason


def test_an_empty_list_succeeds_at_once(proposer, operator):
    run = approved(plan(each(forEach=[])), proposer, operator)

    assert run.state == "succeeded"
    assert container(run).output == {
        "items": [],
        "count": 0,
        "succeeded": 0,
        "failed": [],
    }


def test_an_item_of_a_list_may_be_a_list(proposer, operator, worker):
    text = plan(
        each(forEach=[["a", 1], []], params={"value": "$letter", "is": "${letter.0?}"})
    )

    run = driven(approved(text, proposer, operator), worker)

    assert container(run).output["items"] == [
        {"value": ["a", 1], "is": "a"},
        {"value": [], "is": None},
    ]


def test_a_condition_about_the_item_is_decided_for_each(proposer, operator, worker):
    text = plan(each(when='item != "b" && index < 2'))

    run = driven(approved(text, proposer, operator), worker)

    assert item_states(run) == [
        "succeeded",
        "skipped_by_condition",
        "skipped_by_condition",
    ]
    assert container(run).output["items"] == [{"value": "a"}, None, None]
    assert run.state == "succeeded"
    assert is_whole(run)


def test_a_condition_about_inputs_is_decided_once(proposer, operator):
    schema = {"type": "object", "properties": {"on": {"type": "boolean"}}}
    text = plan(each(when="inputs.on"), inputs=schema)

    run = approved(text, proposer, operator, on=False)

    assert container(run).state == "skipped_by_condition"
    assert items_of(run) == []


def test_a_changed_value_of_an_item_does_not_run(proposer, operator):
    run = approved(plan(each()), proposer, operator)
    tampered = items_of(run)[1]
    value = {**tampered.item_value, "value": "other"}
    StepRun.objects.filter(pk=tampered.pk).update(item_value=value)

    end(run, 0)

    assert item_states(run) == ["succeeded", "failed", "skipped"]
    assert items_of(run)[1].error["code"] == "step.content_changed"


@pytest.mark.promise("S3.32")
def test_the_items_of_a_parallel_plan_run_at_the_same_time(proposer, operator):
    run = approved(plan(each(), parallel=True), proposer, operator)

    leases = [claim(run, item) for item in range(3)]

    assert all(leases)
    assert item_states(run) == ["running"] * 3


@pytest.mark.promise("S3.35")
def test_a_step_knows_how_many_items_it_expects_and_reports_its_end(proposer, operator):
    run = approved(plan(each(onItemError="continue", join="any")), proposer, operator)
    end(run, 0)
    counts = items.counts_of(run, [container(run)])[container(run).pk]
    during = (container(run).state, counts.total, counts.states["succeeded"])
    end(run, 1, FAILED)
    end(run, 2)

    assert during == ("expanded", 3, 1)
    facts = [
        (event.kind, record.envelope(event)["payload"])
        for event in record.events_after(run.stream, 0)
        if event.step == "each"
    ]
    expected = [p["count"] for kind, p in facts if kind == "step.expanded"]
    assert expected == [3]
    kind, last = facts[-1]
    assert kind == "step.succeeded"
    assert (last["count"], last["failed"], "item" in last) == (3, [1], False)
    assert container(run).output["succeeded"] == 2
