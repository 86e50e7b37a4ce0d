"""What a rollback does, records and tells, from a failure to its end."""

from datetime import timedelta

import pytest

from execfabric.lib import clock
from orchestration.runs.control import attention, control
from orchestration.runs.domain.results import Finished
from orchestration.runs.keeper import sweep
from tests.api_builders import Caller, token_of
from tests.builders import approved, claimed, completed, driven, plan, states, step
from tests.integration.rollback_builders import (
    FAILS,
    done,
    failing,
    marks,
    rolled_back,
    undoable,
)
from tests.record import is_whole, kinds, payloads

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]
KEYS = ("a", "b", "c")


def completed_as(run, order, output):
    """Complete steps that have started together, each with an output of its own."""
    leases = {key: claimed(run, key) for key in KEYS}
    for key in order:
        assert completed(leases[key], Finished({"mark": output(key)}, {})) is None
    run.refresh_from_db()
    assert run.state == "succeeded"


@pytest.mark.promise("S1.5", "S1.26", "S1.27")
@pytest.mark.parametrize("order", ["abc", "cab", "bca"])
def test_another_worker_undoes_what_completed_last_first(
    order, proposer, operator, worker, witness
):
    text = plan(*(done(key) for key in KEYS), parallel=True)
    run = approved(text, proposer, operator)
    completed_as(run, order, "ticket-{}".format)

    rolled_back(run, operator)
    run = driven(run, worker)

    assert run.state == "rolled_back"
    # Only the record has these outputs: no handler has run before.
    assert marks(witness) == [f"undo-ticket-{key}" for key in reversed(order)]
    assert {states(run)[key] for key in KEYS} == {"compensated"}


@pytest.mark.promise("S1.28")
def test_each_action_of_a_rollback_is_in_the_log(proposer, operator, worker, witness):
    run = driven(approved(undoable(2), proposer, operator), worker)
    before = len(kinds(run))

    rolled_back(run, operator, reason="Not wanted.")
    run = driven(run, worker)

    logged = kinds(run)[before:]
    assert logged[0] == "run.rollback_started"
    assert payloads(run, "run.rollback_started")[0]["reason"] == "Not wanted."
    assert logged[-1] == "run.rolled_back"
    for key in ("s0", "s1"):
        acts = kinds(run, f"{key}.undo")
        assert acts[-2:] == ["step.started", "step.succeeded"]
        assert kinds(run, key)[-1] == "step.compensated"
        assert set(acts) <= set(logged)
    assert is_whole(run)


@pytest.mark.promise("S1.34")
def test_several_failures_end_the_run_and_undo_it(proposer, operator, worker, witness):
    text = undoable(2, failing("bad", after="s1"), done("later", after="bad"))
    run = driven(approved(text, proposer, operator), worker)
    assert run.state == "paused"

    control.resume(run_id=run.id, by=operator.actor(), at=clock.now())
    run = driven(run, worker)

    assert run.state == "rolled_back"
    assert marks(witness) == ["s0", "s1", "undo-s1", "undo-s0"]
    assert states(run)["later"] == "skipped"


@pytest.mark.promise("S1.35")
def test_a_failed_rollback_alerts_and_waits_for_a_person(
    proposer, operator, worker, witness, caplog
):
    text = plan(done("s0"), done("s1", after="s0", rollback=FAILS))
    run = driven(approved(text, proposer, operator), worker)
    rolled_back(run, operator)
    run = driven(run, worker)
    assert run.state == "rollback_failed"

    [item] = attention.queue(operator.actor(), at=clock.now())
    assert (item.kind, item.run_id) == ("rollback", run.pk)
    assert "needs an operator" in caplog.text
    sweep.sweep(at=clock.now() + timedelta(days=1))
    assert driven(run, worker).state == "rollback_failed"
    assert marks(witness) == ["s0", "s1"]

    rolled_back(run, operator)
    # Its cause is gone, and it succeeds; the same worker takes the next one.
    lease = completed(claimed(run, "s1.undo"))
    assert lease
    completed(lease)
    run.refresh_from_db()

    assert run.state == "rolled_back"
    assert list(attention.queue(operator.actor(), at=clock.now())) == []


@pytest.mark.promise("S1.38")
def test_the_last_failed_run_of_a_plan_is_found_and_rolled_back(
    proposer, operator, worker, witness
):
    bad = undoable(1, failing("bad", after="s0"), onFailure="abort")
    first, last = (driven(approved(bad, proposer, operator), worker) for _ in range(2))
    good = driven(approved(undoable(1), proposer, operator), worker)
    assert (first.state, last.state, good.state) == ("failed", "failed", "succeeded")
    api = Caller(token_of(operator))

    found = api.get("plans/lab-plan/last-failed-run").json()["id"]
    digest = api.get(f"runs/{found}/rollback").json()["digest"]
    body = {"reason": "Not wanted.", "digest": digest}
    api.post(f"runs/{found}:rollback", body)
    last = driven(last, worker)

    assert found == str(last.pk)
    assert last.state == "rolled_back"
    assert marks(witness) == ["s0", "s0", "s0", "undo-s0"]
    first.refresh_from_db()
    assert first.state == "failed"


@pytest.mark.promise("S3.53")
def test_each_step_recovers_by_its_own_policy(proposer, operator, worker, witness):
    echo = {"skill": "lab", "action": "echo", "params": {"by": "fallback"}}
    busy = {"params": {"how": "busy"}, "onError": "continue"}
    steps = [
        done("undone"),
        step("replaced", "once", params={"how": "fail"}, fallback=echo),
        step("tried-twice", "misbehave-again", **busy),
        step("tried-thrice", "misbehave-again", retry={"attempts": 3}, **busy),
        failing("ignored", onError="continue"),
        failing("fatal", after=["undone", "replaced"], onError="rollback"),
    ]
    run = driven(approved(plan(*steps), proposer, operator), worker)
    while run.steps.filter(state="backoff").exists():
        sweep.sweep(at=clock.now() + timedelta(minutes=5))
        run = driven(run, worker)

    tries = {key: run.steps.get(key=key).attempts.count() for key in states(run)}
    assert tries["tried-twice"] == 2
    assert tries["tried-thrice"] == 3
    assert tries["replaced.fallback"] == tries["ignored"] == tries["fatal"] == 1
    assert run.state == "rolled_back"
    assert marks(witness) == ["undone", "undo-undone"]
