"""The plan says what failed steps mean: pause, abort, continue or roll back."""

import pytest

from execfabric.lib import clock
from orchestration.runs.control import control
from orchestration.runs.domain.results import Failure, Finished
from tests.builders import (
    approved,
    claimed,
    completed,
    driven,
    open_gate,
    plan,
    proposed,
    states,
    step,
)
from tests.integration.rollback_builders import done, failing, marks, undoable

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]


def resumed(run, by):
    return control.resume(run_id=run.id, by=by.actor(), at=clock.now())


def test_the_first_failure_pauses_and_the_second_rolls_back(
    proposer, operator, worker, witness
):
    text = undoable(2, failing("bad", after="s1"))
    run = driven(approved(text, proposer, operator), worker)
    assert (run.state, run.reason) == ("paused", "Step bad failed.")
    assert (run.failures, run.rollback_after) == (1, 2)

    resumed(run, operator)
    run = driven(run, worker)

    assert run.state == "rolled_back"
    assert run.failures == 2
    assert marks(witness) == ["s0", "s1", "undo-s1", "undo-s0"]


def test_a_plan_without_an_undo_only_pauses(proposer, operator, worker):
    text = plan(step("a", "witness", params={"mark": "a"}), failing("b", after="a"))
    run = driven(approved(text, proposer, operator), worker)
    for _ in range(3):
        resumed(run, operator)
        run = driven(run, worker)

    assert run.state == "paused"
    assert (run.failures, run.rollback_after) == (4, 0)


def test_zero_switches_the_rollback_off(proposer, operator, worker):
    text = undoable(1, failing("bad", after="s0"), rollbackAfterFailures=0)
    run = driven(approved(text, proposer, operator), worker)
    resumed(run, operator)

    assert driven(run, worker).state == "paused"


def test_on_failure_rollback_undoes_at_the_first_failure(
    proposer, operator, worker, witness
):
    text = undoable(
        2, failing("bad", after="s1"), done("later", after="bad"), onFailure="rollback"
    )
    run = driven(approved(text, proposer, operator), worker)

    assert run.state == "rolled_back"
    assert marks(witness) == ["s0", "s1", "undo-s1", "undo-s0"]
    assert states(run)["later"] == "skipped"


def test_the_error_policy_of_a_step_overrides_that_of_the_plan(
    proposer, operator, worker, witness
):
    steps = [
        done("s0"),
        failing("may-fail", after="s0", onError="continue"),
        done("s1", after="s0"),
    ]
    text = plan(*steps, failing("must-not", after="s1", onError="rollback"))
    run = driven(approved(text, proposer, operator), worker)

    assert run.state == "rolled_back"
    assert run.failures == 1
    assert marks(witness) == ["s0", "s1", "undo-s1", "undo-s0"]


def test_a_step_that_may_fail_leaves_a_partial_success(proposer, operator, worker):
    steps = [done("s0"), failing("bad", after="s0", onError="continue")]
    run = driven(approved(plan(*steps), proposer, operator), worker)

    assert run.state == "partially_succeeded"


def test_failures_under_continue_are_counted_too(proposer, operator, worker, witness):
    steps = [done("s0"), *(failing(f"bad{n}", after="s0") for n in range(3))]
    text = plan(*steps, onFailure="continue", rollbackAfterFailures=3)
    run = driven(approved(text, proposer, operator), worker)

    assert run.state == "rolled_back"
    assert marks(witness) == ["s0", "undo-s0"]


def test_a_step_that_runs_beside_the_failure_finishes_and_is_undone_first(
    proposer, operator, worker, witness
):
    text = plan(
        done("s0"),
        done("slow", after="s0"),
        failing("bad", after="s0"),
        done("later", after=["slow", "bad"]),
        parallel=True,
        onFailure="rollback",
    )
    run = approved(text, proposer, operator)
    slow = completed(claimed(run, "s0"), Finished({"mark": "s0"}, {}))
    bad = claimed(run, "bad")
    completed(bad, Failure("lab.refused", "No.", ran=True))
    run.refresh_from_db()
    assert run.state == "running"

    lease = completed(slow, Finished({"mark": "slow"}, {}))

    assert lease is not None
    assert lease.key == "slow.undo"
    run.refresh_from_db()
    assert run.state == "rolling_back"


def test_a_rollback_with_nothing_to_undo_ends_the_run_as_failed(
    proposer, operator, worker
):
    text = plan(step("look"), failing("bad", after="look"), onFailure="rollback")
    run = driven(approved(text, proposer, operator), worker)

    assert run.state == "failed"
    assert run.reason.startswith("Step bad failed. Cannot roll back: no completed step")


def test_who_approves_a_plan_reads_what_a_failure_means(proposer, operator):
    run = proposed(undoable(1), proposer)

    subject = bytes(open_gate(run).subject).decode()

    assert '"rollback_after":2' in subject
    assert "After 2 failures, finished steps are undone" in subject
