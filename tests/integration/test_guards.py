"""Guards of a claim, a result and a sweep that no other test isolates."""

from datetime import timedelta

from execfabric.lib import clock
from orchestration.runs.domain.results import Failure, Finished
from orchestration.runs.engine.attempts import BY
from orchestration.runs.engine.locking import locked_change
from orchestration.runs.keeper import sweep
from orchestration.runs.models import StepRun
from tests.builders import approved, claimed, completed, plan, states, step

MARK = {"mark": "x"}


def lapse(run, key):
    """End the lease of a step, as if its worker had not renewed it."""
    past = clock.now() - timedelta(minutes=1)
    StepRun.objects.filter(run=run, key=key).update(lease_until=past)


def test_the_result_of_an_old_attempt_does_not_end_the_current_one(proposer, operator):
    text = plan(step("again", "witness-again", params=MARK))
    run = approved(text, proposer, operator)
    old = claimed(run, "again")
    lapse(run, "again")
    sweep.sweep(at=clock.now())
    current = claimed(run, "again")

    completed(old, Failure("test.old", "The old attempt failed."))

    assert states(run) == {"again": "running"}
    completed(current, Finished(MARK, {}))
    assert states(run) == {"again": "succeeded"}


def test_a_forged_hint_starts_no_step_that_is_not_ready(proposer, operator):
    text = plan(step("first"), step("second", after="first"), step("risky", "risky"))
    run = approved(text, proposer, operator)

    assert claimed(run, "second") is None
    assert claimed(run, "risky") is None

    before = {"first": "ready", "second": "pending", "risky": "pending"}
    assert states(run) == before


def test_a_lease_that_was_renewed_meanwhile_is_not_taken_away(proposer, operator):
    run = approved(plan(step("once", "witness", params=MARK)), proposer, operator)
    lease = claimed(run, "once")

    with locked_change(run.id, by=BY, at=clock.now()) as change:
        is_rescued = sweep._rescued(change, lease.step_run_id)

    assert not is_rescued
    assert states(run) == {"once": "running"}
