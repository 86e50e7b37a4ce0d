"""Retries of an undo after other acts have continued its rollback."""

from datetime import timedelta

import pytest

from execfabric.lib import clock
from orchestration.runs import selectors
from orchestration.runs.control import recovery, step_actions
from orchestration.runs.control.attention_sources import stopped_rollbacks
from orchestration.runs.domain.guided import StepAct
from orchestration.runs.domain.results import Failure, Finished, Lost
from orchestration.runs.errors import OwnCompletion
from orchestration.runs.models import Attempt
from orchestration.runs.pages import rollback_report, step_acts
from tests.builders import (
    approved,
    claimed,
    completed,
    decided,
    driven,
    open_gate,
    plan,
    states,
)
from tests.database import record_attempts
from tests.integration.rollback_builders import FAILS, done, rolled_back, undoable
from tests.integration.test_undo_actions import asked, complete, intact, reported

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]


KEPT = "It stays: the rollback went back to step s1."


def needed(by):
    runs = selectors.visible_to(by.actor())
    return [*stopped_rollbacks(runs, clock.now())]


def resolved(run, by, key, *, happened=None):
    recovery.resolve(
        step_run_id=run.steps.get(key=key).pk,
        happened=happened,
        evidence="Looked at the target.",
        by=by.actor(),
        at=clock.now(),
    )


def retried(run, by, key):
    """Retry an undo as a new generation; return the lease of the undo after it."""
    before = run.steps.get(key=key).generation
    step_actions.retry(asked(run, key, by))
    after = run.steps.get(key=key)
    assert (after.generation, after.state) == (before + 1, "ready")
    return completed(claimed(run, key))


def undo_fails(run, key):
    completed(claimed(run, key), Failure("lab.refused", "No.", ran=True))
    run.refresh_from_db()
    assert run.state == "rollback_failed"


def unprepared(proposer, operator):
    """Return a run of three steps, where the undo of the last one cannot be prepared."""
    run = approved(undoable(3), proposer, operator)
    lease = completed(claimed(run, "s0"), Finished({"mark": "s0"}, {}))
    lease = completed(lease, Finished({"mark": "s1"}, {}))
    completed(lease, Finished({}, {}))
    return run


def test_an_undo_that_failed_is_retried_after_an_act_on_an_abandoned_one(
    proposer, operator, admin, worker, witness
):
    run = driven(approved(undoable(3), proposer, operator), worker)
    rolled_back(run, operator)
    completed(claimed(run, "s2.undo"), Lost("lab.silent", "No answer."))
    resolved(run, admin, "s2.undo")
    record_attempts(timedelta(days=1), Attempt.objects.filter(step_run__run=run))
    rolled_back(run, operator)
    undo_fails(run, "s1.undo")
    complete(run, admin, "s2.undo")

    completed(retried(run, operator, "s1.undo"))

    run.refresh_from_db()
    assert run.state == "rolled_back"
    assert states(run)["s0"] == states(run)["s1"] == "compensated"
    assert intact(run)


def test_an_undo_that_failed_is_retried_after_an_act_on_an_unprepared_one(
    proposer, operator, admin, worker, witness
):
    run = unprepared(proposer, operator)
    rolled_back(run, operator)
    undo_fails(run, "s1.undo")
    complete(run, admin, "s2.undo")

    completed(retried(run, operator, "s1.undo"))

    run.refresh_from_db()
    assert run.state == "rolled_back"
    assert intact(run)


def test_an_undo_that_a_partial_rollback_leaves_out_is_retried(
    proposer, operator, worker, witness
):
    run = unprepared(proposer, operator)
    rolled_back(run, operator)
    undo_fails(run, "s1.undo")
    rolled_back(run, operator, to="s1")
    run.refresh_from_db()
    assert run.state == "rollback_failed"

    retried(run, operator, "s1.undo")

    assert states(run)["s1"] == "compensated"
    assert intact(run)


def test_a_partial_rollback_leaves_alone_what_failed_outside_its_part(
    proposer, operator, admin, worker, witness
):
    run = unprepared(proposer, operator)
    rolled_back(run, operator)
    undo_fails(run, "s1.undo")

    rolled_back(run, operator, to="s1")

    run.refresh_from_db()
    assert run.reason == "0 steps were undone. Cannot run: s2.undo."
    complete(run, admin, "s2.undo")
    assert reported(run)["s1"] == ("not_undone", KEPT)
    assert run.state == "rolled_back"
    assert rollback_report.of_run(run).back_to == "s1"
    assert intact(run)


def test_what_a_partial_rollback_leaves_out_needs_no_one(
    proposer, operator, worker, witness
):
    text = plan(
        done("s0"), done("s1", after="s0"), done("s2", after="s1", rollback=FAILS)
    )
    run = driven(approved(text, proposer, operator), worker)
    rolled_back(run, operator)
    run = driven(run, worker)
    rolled_back(run, operator, to="s1")
    run = driven(run, worker)
    assert [item.text for item in needed(operator)] == [run.reason]

    step_actions.skip(asked(run, "s2.undo", operator))

    assert reported(run)["s1"] == ("not_undone", KEPT)
    assert run.state == "rollback_failed"
    assert needed(operator) == []
    # A later rollback can still undo what was left out.
    rolled_back(run, operator)
    run = driven(run, worker)
    assert states(run)["s0"] == states(run)["s1"] == "compensated"
    assert intact(run)


def test_who_began_a_rollback_cannot_complete_its_rejected_undo_by_hand(
    proposer, operator, second_operator, worker, witness
):
    gated = {"action": "witness-gated", "params": {"mark": "gated"}}
    text = plan(done("s0", rollback=gated))
    run = driven(approved(text, proposer, operator), worker)
    rolled_back(run, operator)
    decided(open_gate(run, "s0.undo"), second_operator, approve=False)
    row = run.steps.get(key="s0.undo")

    offers = step_acts.by_id(operator.actor(), row.pk)
    assert "you began" in offers.of(StepAct.COMPLETE).why_not
    with pytest.raises(OwnCompletion, match="you began"):
        complete(run, operator, "s0.undo")

    complete(run, second_operator, "s0.undo")
    assert states(run)["s0"] == "compensated"
