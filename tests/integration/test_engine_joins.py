"""What waits for what: slots, gates and joins of parallel plans, on the real engine."""

from datetime import timedelta

import pytest

from execfabric.lib import clock
from orchestration.runs.keeper import sweep
from tests.builders import (
    approved,
    claimed,
    decided,
    driven,
    open_gate,
    plan,
    states,
    step,
)

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry", "path"),
]


def test_open_gates_do_not_keep_a_free_step_from_running(proposer, operator, worker):
    text = plan(
        step("one", "risky"), step("two", "risky"), step("free"), parallel={"max": 2}
    )

    run = driven(approved(text, proposer, operator), worker)

    assert states(run) == {"one": "gated", "two": "gated", "free": "succeeded"}


def test_approved_steps_wait_for_a_slot(proposer, operator, worker):
    keys = ["one", "two", "three"]
    text = plan(*(step(key, "risky") for key in keys), parallel={"max": 2})
    run = approved(text, proposer, operator)
    for key in keys:
        decided(open_gate(run, key), operator)

    leases = [claimed(run, key) for key in keys]

    assert [lease is not None for lease in leases] == [True, True, False]
    assert states(run) == {"one": "running", "two": "running", "three": "ready"}


def test_workers_are_not_notified_of_a_step_that_has_no_slot(proposer, operator):
    keys = ["one", "two", "three"]
    text = plan(*(step(key, "risky") for key in keys), parallel={"max": 2})
    run = approved(text, proposer, operator)
    for key in keys:
        decided(open_gate(run, key), operator)
    first, later = (clock.now() + timedelta(minutes=n) for n in (5, 10))

    hinted = [sweep.sweep(at=first).hinted]
    for key in keys:
        claimed(run, key)
    hinted.append(sweep.sweep(at=later).hinted)

    assert states(run) == {"one": "running", "two": "running", "three": "ready"}
    assert hinted == [3, 0]
