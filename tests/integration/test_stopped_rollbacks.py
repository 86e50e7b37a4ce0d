"""Retries of an undo after other acts have continued its rollback."""

from datetime import timedelta

import pytest

from execfabric.lib import clock
from orchestration.runs.control import recovery, step_actions
from orchestration.runs.domain.results import Failure, Finished, Lost
from orchestration.runs.models import Attempt
from tests.builders import approved, claimed, completed, driven, states
from tests.database import record_attempts
from tests.integration.rollback_builders import rolled_back, undoable
from tests.integration.test_undo_actions import asked, complete, intact

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]


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
