"""Users act on failed items, on failed steps of sub-plans, and on fallbacks."""

import pytest

from execfabric.lib import clock
from orchestration.runs.control import control, step_actions
from orchestration.runs.control.step_actions import Request
from orchestration.runs.domain.results import Failure, Finished
from orchestration.runs.errors import StepActRefused
from orchestration.trace.services import streams
from tests.builders import (
    approved,
    claimed,
    completed,
    driven,
    outputs,
    plan,
    states,
    step,
)
from tests.integration.fallback_builders import with_fallback
from tests.integration.item_builders import container, each, end, item_states
from tests.integration.subplan_builders import inner, paths, save, uses

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry", "path"),
]

NO = Failure("lab.refused", "The target said no.", ran=True)
OK = Finished({"value": "done"}, {})
ACTS = {
    "retry": step_actions.retry,
    "skip": step_actions.skip,
    "fallback": step_actions.fall_back,
    "complete": lambda request: step_actions.complete(
        request, evidence="Ticket 7.", output={"value": "by hand"}
    ),
}


def act(name, row, by):
    """Do something about a step run."""
    ACTS[name](Request(row.pk, "The target is back.", by.actor(), clock.now()))


def items_failed(proposer, operator, *results, **fields):
    """Return a run of a list whose items have ended with these results."""
    text = plan(each(**fields), step("last", after="each"), parallel=True)
    run = approved(text, proposer, operator)
    for item, result in enumerate(results):
        end(run, item, result)
    return run


@pytest.mark.parametrize(
    ("name", "expected", "end_state"),
    [
        ("retry", ["succeeded"] * 3, "succeeded"),
        ("skip", ["succeeded", "skipped", "succeeded"], "partially_succeeded"),
        ("complete", ["succeeded"] * 3, "succeeded"),
    ],
)
def test_acting_on_the_one_failed_item_ends_its_list(
    name, expected, end_state, proposer, operator, worker
):
    run = items_failed(proposer, operator, OK, NO, OK, onItemError="continue")
    assert (run.state, container(run).state) == ("paused", "failed")

    act(name, run.steps.get(key="each", item=1), operator)

    run = driven(run, worker)
    assert item_states(run) == expected
    assert (run.state, container(run).state) == (end_state, "succeeded")
    assert states(run)["last"] == "succeeded"
    if name == "skip":
        assert outputs(run)["each"]["failed"] == [1]


def test_an_item_skipped_by_a_user_lets_stopped_items_run(proposer, operator, worker):
    text = plan(
        each(onItemError="stop", max=1), step("last", after="each"), parallel=True
    )
    run = approved(text, proposer, operator)
    end(run, 0, NO)
    assert item_states(run) == ["failed", "skipped", "skipped"]

    act("skip", run.steps.get(key="each", item=0), operator)

    run = driven(run, worker)
    assert item_states(run) == ["skipped", "succeeded", "succeeded"]
    assert run.state == "partially_succeeded"


def test_one_of_two_failed_items_is_not_retried_alone(proposer, operator, worker):
    run = items_failed(proposer, operator, NO, NO, OK, onItemError="continue")

    with pytest.raises(StepActRefused, match="other parts of step each failed too"):
        act("retry", run.steps.get(key="each", item=0), operator)
    act("skip", run.steps.get(key="each", item=0), operator)
    run.refresh_from_db()
    still = run.state, container(run).state
    act("retry", run.steps.get(key="each", item=1), operator)

    run = driven(run, worker)
    assert still == ("paused", "failed")
    assert item_states(run) == ["skipped", "succeeded", "succeeded"]
    assert run.state == "partially_succeeded"


def test_a_retry_of_the_list_retries_its_failed_items_only(proposer, operator, worker):
    run = items_failed(proposer, operator, NO, NO, OK, onItemError="continue")
    act("skip", run.steps.get(key="each", item=0), operator)

    act("retry", container(run), operator)

    run = driven(run, worker)
    assert item_states(run) == ["skipped", "succeeded", "succeeded"]
    assert run.steps.get(key="each", item=2).generation == 1


def test_a_skipped_item_is_no_success_where_one_is_needed(proposer, operator, worker):
    run = items_failed(
        proposer, operator, NO, NO, NO, onItemError="continue", join="any"
    )
    for item in (0, 1, 2):
        act("skip", run.steps.get(key="each", item=item), operator)

    run = driven(run, worker)
    assert (run.state, container(run).state) == ("paused", "failed")


@pytest.mark.parametrize("name", ["complete", "fallback"])
def test_a_list_itself_is_neither_completed_nor_replaced(name, proposer, operator):
    run = items_failed(proposer, operator, OK, NO, OK, onItemError="continue")

    with pytest.raises(StepActRefused):
        act(name, container(run), operator)

    assert container(run).state == "failed"


def test_a_failed_list_is_skipped_with_its_items(proposer, operator, worker):
    run = items_failed(proposer, operator, OK, NO, OK, onItemError="continue")

    act("skip", container(run), operator)

    run = driven(run, worker)
    assert (run.state, container(run).state) == ("partially_succeeded", "skipped")
    assert states(run)["last"] == "skipped"
    assert item_states(run) == ["succeeded", "failed", "succeeded"]


INSIDE = [
    step("make", params={"value": "$inputs.word"}),
    step("again", after="make", params={"value": "$make.output.value?"}),
    step("free"),
]
OUTER = plan(uses(word="hello"), step("last", after="sub"))


def sub_failed(proposer, operator, key="make", **fields):
    save(inner(*INSIDE, outputs={"by": "$inputs.word"}, **fields), proposer)
    run = approved(OUTER, proposer, operator)
    lease = claimed(run, "make")
    if key != "make":
        lease = completed(lease, OK)
    assert lease.key == key
    completed(lease, NO)
    run.refresh_from_db()
    assert run.state == "paused"
    return run


@pytest.mark.parametrize(
    ("name", "again", "end_state"),
    [
        ("retry", "succeeded", "succeeded"),
        ("skip", "skipped", "partially_succeeded"),
        ("complete", "succeeded", "succeeded"),
    ],
)
def test_acting_on_a_failed_step_of_a_sub_plan_ends_the_sub_plan(
    name, again, end_state, proposer, operator, worker
):
    run = sub_failed(proposer, operator)
    assert paths(run)["sub"] == "failed"

    act(name, run.steps.get(key="make"), operator)

    run = driven(run, worker)
    assert paths(run)["sub/again"] == again
    assert paths(run)["sub/free"] == "succeeded"
    assert (run.state, paths(run)["sub"]) == (end_state, "succeeded")
    assert states(run)["last"] == "succeeded"
    checked = streams.verify_stream(run.stream)
    assert (checked.broken, checked.differences) == (None, [])


def test_a_sub_plan_without_its_output_fails_again_and_can_be_skipped(
    proposer, operator, worker
):
    save(inner(), proposer)
    run = approved(OUTER, proposer, operator)
    completed(claimed(run, "make"), NO)
    act("skip", run.steps.get(key="make"), operator)
    run = driven(run, worker)
    assert (run.state, paths(run)["sub"]) == ("paused", "failed")

    act("skip", run.steps.get(key="sub"), operator)

    run = driven(run, worker)
    assert run.state == "partially_succeeded"
    assert paths(run)["last"] == "skipped"


def test_nothing_is_done_about_a_fallback_but_about_its_step(
    proposer, operator, worker
):
    failing = {"skill": "lab", "action": "misbehave", "params": {"how": "fail"}}
    run = approved(plan(with_fallback(fallback=failing)), proposer, operator)
    run = driven(run, worker)
    fallback = run.steps.get(key__endswith="fallback")
    assert (run.state, fallback.state) == ("paused", "failed")

    for name in ACTS:
        with pytest.raises(StepActRefused, match="it is the fallback"):
            act(name, fallback, operator)
    with pytest.raises(StepActRefused, match="failed too"):
        act("fallback", run.steps.get(key="q"), operator)
    act("retry", run.steps.get(key="q"), operator)

    run = driven(run, worker)
    assert run.steps.get(key__endswith="fallback").generation == 2


def test_an_aborted_list_skips_its_items(proposer, operator):
    run = approved(plan(each(max=1), parallel=True), proposer, operator)

    control.abort(run_id=run.id, by=operator.actor(), at=clock.now(), reason="No.")

    run.refresh_from_db()
    assert run.state == "failed"
    assert item_states(run) == ["skipped"] * 3
