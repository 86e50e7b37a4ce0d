"""Undos take places for the concurrency keys of what they undo."""

import pytest

from execfabric.lib import clock
from orchestration.runs.control import control
from orchestration.runs.keeper import sweep
from orchestration.runs.models import ConcurrencyPlace
from orchestration.trace.services import streams
from tests.builders import (
    approved,
    claimed,
    completed,
    driven,
    plan,
    states,
    step,
)
from tests.console_builders import signed_in, words
from tests.integration.concurrency_builders import INPUTS, state
from tests.integration.rollback_builders import FAILS, done, marks, rolled_back
from tests.web.run_builders import page_of

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]

OF_STEP = plan(
    done("s0", concurrency={"key": "database-$inputs.env"}),
    done("s1", after="s0"),
    inputs=INPUTS,
)
OF_PLAN = plan(
    done("s0"),
    done("s1", after="s0"),
    inputs=INPUTS,
    concurrency={"key": "database-$inputs.env"},
)


def swept() -> int:
    return sweep.sweep(at=clock.now()).admitted


def intact(run) -> bool:
    result = streams.verify_stream(run.stream)
    return (result.broken, result.differences) == (None, [])


@pytest.mark.parametrize("text", [OF_STEP, OF_PLAN], ids=["step", "plan"])
def test_an_undo_waits_until_another_run_has_left_the_key(
    text, api, proposer, operator, worker, witness
):
    run = driven(approved(text, proposer, operator, env="p"), worker)
    assert not ConcurrencyPlace.objects.exists()
    other = approved(text, proposer, operator, env="p")
    rolled_back(run, operator)
    run = driven(run, worker)
    first = "s1.undo" if text is OF_PLAN else "s0.undo"

    assert states(run)[first] == "queued"
    assert swept() == 0
    [waiting] = api.get(f"runs/{run.pk}").json()["queue"]
    assert waiting["step"] == first
    assert waiting["key"] == "database-p"
    assert waiting["waits_for"] == [{"run": str(other.pk)}]
    page = words(page_of(run, signed_in(operator)))
    assert f"Step “{first}” waits for a place with the concurrency key" in page
    assert f"Waiting for run {other.pk}" in page

    driven(other, worker)
    assert state(other) == "succeeded"
    while run.state == "rolling_back":
        assert swept() <= 1
        run = driven(run, worker)
    assert run.state == "rolled_back"
    assert marks(witness)[-1] == "undo-s0"
    assert not ConcurrencyPlace.objects.exists()
    assert intact(run)


def test_an_undo_holds_the_key_until_it_ends(proposer, operator, worker, witness):
    run = driven(approved(OF_STEP, proposer, operator, env="p"), worker)
    rolled_back(run, operator)
    lease = completed(claimed(run, "s1.undo"))
    assert lease.key == "s0.undo"
    other = approved(OF_STEP, proposer, operator, env="p")
    assert states(other)["s0"] == "queued"
    free = approved(OF_STEP, proposer, operator, env="d")
    assert states(free)["s0"] == "ready"

    completed(lease)
    assert state(run) == "rolled_back"
    assert swept() == 1
    assert states(other)["s0"] == "ready"


def test_a_paused_run_undoes_its_steps_in_its_own_place(
    proposer, operator, worker, witness
):
    text = plan(
        done("s0"),
        step("bad", "once", params={"how": "fail"}, after="s0"),
        inputs=INPUTS,
        concurrency={"key": "database-$inputs.env"},
    )
    run = driven(approved(text, proposer, operator, env="p"), worker)
    other = approved(text, proposer, operator, env="p")
    assert (run.state, state(other)) == ("paused", "queued")

    rolled_back(run, operator)
    assert driven(run, worker).state == "rolled_back"

    assert swept() == 1
    assert state(other) == "running"


def test_a_failed_undo_leaves_its_place_and_its_retry_takes_a_new_one(
    proposer, operator, worker, witness
):
    text = plan(
        done("s0", rollback=FAILS, concurrency={"key": "database"}),
        done("s1", after="s0"),
    )
    run = driven(approved(text, proposer, operator), worker)
    rolled_back(run, operator)
    run = driven(run, worker)
    assert run.state == "rollback_failed"
    other = approved(text, proposer, operator)
    assert states(other)["s0"] == "ready"

    rolled_back(run, operator)

    assert states(run)["s0.undo"] == "queued"
    control.cancel(run_id=other.pk, by=operator.actor(), at=clock.now())
    assert swept() == 1
    completed(claimed(run, "s0.undo"))
    assert state(run) == "rolled_back"
    assert intact(run)
