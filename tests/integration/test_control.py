"""Pause, resume and cancel: requests that the workers confirm."""

import pytest

from execfabric.lib import clock
from execfabric.lib.machine import IllegalTransition
from orchestration.runs.control import control
from orchestration.runs.domain.results import Failure
from orchestration.runs.errors import NotControllable
from tests.builders import (
    approved,
    chain,
    claimed,
    completed,
    driven,
    open_gate,
    plan,
    proposed,
    states,
    step,
)

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry", "path"),
]


def test_a_pause_is_a_request_until_the_worker_confirms_it(proposer, operator, worker):
    run = approved(chain(2), proposer, operator)
    lease = claimed(run, "s0")

    asked = control.pause(run_id=run.id, by=operator.actor(), at=clock.now())
    completed(lease)
    run.refresh_from_db()

    assert asked.state == "pausing"
    assert run.state == "paused"
    assert states(run) == {"s0": "succeeded", "s1": "pending"}


def test_a_cancel_lets_a_step_finish_that_may_not_be_cut_off(
    proposer, operator, worker, witness
):
    text = plan(
        step("once", "witness", params={"mark": "x"}), step("next", after="once")
    )
    run = approved(text, proposer, operator)
    lease = claimed(run, "once")

    asked = control.cancel(run_id=run.id, by=operator.actor(), at=clock.now())
    completed(lease)
    run.refresh_from_db()

    assert asked.state == "cancelling"
    assert run.state == "cancelled"
    assert states(run) == {"once": "succeeded", "next": "cancelled"}


def test_a_step_that_is_ready_does_not_start_in_a_paused_run(
    proposer, operator, worker
):
    run = approved(chain(1), proposer, operator)
    control.pause(run_id=run.id, by=operator.actor(), at=clock.now())

    assert claimed(run, "s0") is None
    assert run.steps.get().state == "ready"


def test_cancelling_a_waiting_run_takes_its_gates_out_of_every_inbox(
    proposer, operator
):
    run = proposed(chain(1), proposer)
    gate = open_gate(run)

    control.cancel(run_id=run.id, by=operator.actor(), at=clock.now())

    gate.refresh_from_db()
    run.refresh_from_db()
    assert run.state == "cancelled"
    assert gate.status == "superseded"


def test_a_stranger_controls_nothing_and_an_ended_run_cannot_be_paused(
    proposer, operator, auditor, worker
):
    run = driven(approved(chain(1), proposer, operator), worker)

    with pytest.raises(NotControllable):
        control.pause(run_id=run.id, by=auditor.actor(), at=clock.now())
    with pytest.raises(IllegalTransition):
        control.pause(run_id=run.id, by=operator.actor(), at=clock.now())


@pytest.mark.parametrize(
    ("on_failure", "end"),
    [
        pytest.param("continue", "partially_succeeded", id="continue"),
        pytest.param("abort", "failed", id="abort"),
    ],
)
def test_resume_repeats_no_failure_that_did_not_pause_the_run(
    on_failure, end, proposer, operator, worker
):
    text = plan(
        step("fails"),
        step("dependent", after="fails"),
        step("free"),
        parallel=True,
        onFailure=on_failure,
    )
    run = approved(text, proposer, operator)
    failing, free = claimed(run, "fails"), claimed(run, "free")
    completed(failing, Failure("lab.refused", "The target said no."))

    control.pause(run_id=run.id, by=operator.actor(), at=clock.now())
    completed(free)
    control.resume(run_id=run.id, by=operator.actor(), at=clock.now())
    run = driven(run, worker)

    assert states(run) == {
        "fails": "failed",
        "dependent": "skipped",
        "free": "succeeded",
    }
    assert run.state == end
    assert run.steps.get(key="fails").attempts.count() == 1
