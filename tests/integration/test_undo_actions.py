"""What a user does about an undo that has failed, and how the rollback goes on."""

from datetime import timedelta

import pytest

from approvals.errors import OwnProposal
from audit import selectors as record
from execfabric.lib import clock
from orchestration.runs.control import recovery, rollback, step_actions
from orchestration.runs.control.step_actions import Request
from orchestration.runs.domain.guided import StepAct
from orchestration.runs.domain.results import Failure, Finished, Lost
from orchestration.runs.errors import (
    NothingToUndo,
    OwnCompletion,
    RollbackBlocked,
    StepActRefused,
    StepTriedSince,
)
from orchestration.runs.models import Attempt
from orchestration.runs.pages import rollback_report, step_acts
from orchestration.trace.services import streams
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
from tests.integration.rollback_builders import FAILS, done, marks, rolled_back

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]

GATED = {"action": "witness-gated", "params": {"mark": "gated"}}


def asked(run, key, by, **fields):
    row = run.steps.get(key=key)
    made = {"reason": "The target is gone.", "by": by.actor(), "at": clock.now()}
    return Request(step_run_id=row.pk, **{**made, **fields})


def chain(*, last=2, **bad):
    """Build a chain of steps with undos, where that of `s1` is another one."""
    steps = [done("s0"), done("s1", after="s0", **({"rollback": FAILS} | bad))]
    steps += [done(f"s{n}", after=f"s{n - 1}") for n in range(2, last + 1)]
    return plan(*steps)


def stopped(proposer, operator, worker, text=None):
    """Return a run whose rollback the undo of `s1` has stopped."""
    run = driven(approved(text or chain(), proposer, operator), worker)
    rolled_back(run, operator)
    run = driven(run, worker)
    assert run.state == "rollback_failed"
    return run


def complete(run, by, key="s1.undo", **fields):
    request = asked(run, key, by, **fields)
    return step_actions.complete(request, evidence="Ticket 7 shows it.")


def reported(run):
    run.refresh_from_db()
    report = rollback_report.of_run(run)
    return {step.title: (str(step.outcome), step.reason) for step in report.steps}


def intact(run):
    result = streams.verify_stream(run.stream)
    return (result.broken, result.differences) == (None, [])


def test_an_undo_completed_by_hand_counts_as_undone_and_the_rollback_goes_on(
    proposer, operator, admin, worker, witness
):
    run = stopped(proposer, operator, worker)

    complete(run, admin)

    run.refresh_from_db()
    assert run.state == "rolling_back"
    assert states(run)["s1"] == "compensated"
    run = driven(run, worker)
    assert run.state == "rolled_back"
    assert marks(witness)[3:] == ["undo-s2", "undo-s0"]
    outcome, reason = reported(run)["s1"]
    assert outcome == "undone"
    assert reason == (
        "admin undid it by hand: The target is gone. Evidence: Ticket 7 shows it."
    )
    assert intact(run)


def test_a_skipped_undo_stays_not_undone_and_the_rollback_goes_on(
    proposer, operator, worker, witness
):
    run = stopped(proposer, operator, worker)

    step_actions.skip(asked(run, "s1.undo", operator))
    run = driven(run, worker)

    assert run.state == "rollback_failed"
    assert run.reason == "2 steps were undone. Skipped by a user: s1.undo."
    assert marks(witness)[3:] == ["undo-s2", "undo-s0"]
    assert states(run)["s1"] == "compensation_failed"
    outcome, reason = reported(run)["s1"]
    assert outcome == "not_undone"
    assert "operator skipped the failed step: The target is gone." in reason
    # A user has decided: nothing is left to do.
    with pytest.raises(NothingToUndo):
        rolled_back(run, operator)
    assert intact(run)


def test_a_retried_undo_runs_again_as_planned_and_the_rollback_goes_on(
    proposer, operator, worker, witness
):
    run = stopped(proposer, operator, worker)

    step_actions.retry(asked(run, "s1.undo", operator))

    lease = completed(claimed(run, "s1.undo"))
    assert lease.key == "s0.undo"
    assert completed(lease) is None
    run.refresh_from_db()
    assert run.state == "rolled_back"
    assert states(run)["s1"] == "compensated"
    assert intact(run)


def test_a_rejected_undo_can_be_completed_by_hand_or_skipped(
    proposer, operator, admin, worker, witness
):
    def rejected():
        run = driven(
            approved(chain(last=1, rollback=GATED), proposer, operator), worker
        )
        rolled_back(run, proposer)
        decided(open_gate(run, "s1.undo"), operator, approve=False)
        return run

    by_hand, skipped = rejected(), rejected()
    complete(by_hand, admin)
    step_actions.skip(asked(skipped, "s1.undo", operator))

    assert driven(by_hand, worker).state == "rolled_back"
    assert driven(skipped, worker).state == "rollback_failed"
    assert marks(witness).count("undo-s0") == 2
    assert intact(by_hand)
    assert intact(skipped)


def test_who_continues_a_rollback_and_who_began_it_cannot_approve_its_undos(
    proposer, operator, second_operator, worker, witness
):
    text = plan(done("s0", rollback=GATED), done("s1", after="s0", rollback=FAILS))
    run = driven(approved(text, proposer, operator), worker)
    rolled_back(run, operator)
    run = driven(run, worker)
    step_actions.skip(asked(run, "s1.undo", second_operator))

    gate = open_gate(run, "s0.undo")

    for own in (operator, second_operator):
        with pytest.raises(OwnProposal):
            decided(gate, own)


def test_who_proposed_the_run_cannot_complete_its_undo_by_hand(
    admin, operator, worker, witness
):
    run = stopped(admin, operator, worker)

    with pytest.raises(OwnCompletion):
        complete(run, admin)

    assert states(run)["s1.undo"] == "failed"


def test_a_rollback_to_a_step_stays_one_after_a_skip(
    proposer, operator, worker, witness
):
    text = plan(
        done("s0"),
        done("s1", after="s0"),
        done("s2", after="s1", rollback=FAILS),
    )
    run = driven(approved(text, proposer, operator), worker)
    rolled_back(run, operator)
    run = driven(run, worker)
    # The whole rollback has stopped; the user goes on with a part of it.
    rolled_back(run, operator, to="s0")
    run = driven(run, worker)
    assert run.state == "rollback_failed"

    step_actions.skip(asked(run, "s2.undo", operator))
    run = driven(run, worker)

    assert marks(witness)[3:] == ["undo-s1"]
    assert states(run)["s0"] == "succeeded"


def test_an_undo_that_could_not_be_prepared_is_completed_by_hand(
    proposer, operator, admin, worker, witness
):
    undo = {"action": "witness", "params": {"mark": "undo-$self.output.mark"}}
    run = approved(chain(rollback=undo, last=1), proposer, operator)
    lease = completed(claimed(run, "s0"), Finished({"mark": "s0"}, {}))
    completed(lease, Finished({}, {}))
    run.refresh_from_db()
    assert run.state == "succeeded"
    rolled_back(run, operator)
    run = driven(run, worker)
    assert run.reason == "1 step was undone. Cannot run: s1.undo."

    with pytest.raises(StepActRefused, match="could not be prepared"):
        step_actions.retry(asked(run, "s1.undo", operator))
    complete(run, admin)

    run.refresh_from_db()
    assert run.state == "rolled_back"
    assert intact(run)


def test_acts_are_refused_while_they_are_not_legal(
    proposer, operator, admin, worker, witness
):
    run = stopped(proposer, operator, worker)
    row = run.steps.get(key="s1.undo")

    with pytest.raises(StepActRefused, match="no fallback"):
        step_actions.fall_back(asked(run, "s1.undo", operator))
    with pytest.raises(StepActRefused, match="it is skipped"):
        step_actions.skip(asked(run, "s0.undo", operator))
    with pytest.raises(StepTriedSince):
        step_actions.skip(
            asked(run, "s1.undo", operator, generation=row.generation + 1)
        )
    step_actions.skip(asked(run, "s1.undo", operator, generation=row.generation))
    with pytest.raises(StepActRefused, match="it is skipped"):
        complete(run, admin)


def test_an_undo_with_an_unknown_outcome_is_resolved_first(
    proposer, operator, admin, worker, witness
):
    run = driven(approved(chain(last=1), proposer, operator), worker)
    rolled_back(run, operator)
    completed(claimed(run, "s1.undo"), Lost("lab.silent", "No answer."))

    with pytest.raises(StepActRefused, match="Resolve the outcome first"):
        step_actions.skip(asked(run, "s1.undo", operator))
    recovery.resolve(
        step_run_id=run.steps.get(key="s1.undo").pk,
        happened=None,
        evidence="No one knows.",
        by=admin.actor(),
        at=clock.now(),
    )
    with pytest.raises(RollbackBlocked, match="may still be running"):
        complete(run, admin)
    attempts = Attempt.objects.filter(step_run__run=run)
    record_attempts(timedelta(days=1), attempts)
    complete(run, admin)

    assert driven(run, worker).state == "rolled_back"


def test_the_page_of_an_undo_offers_what_is_possible(
    proposer, operator, admin, worker, witness
):
    run = stopped(proposer, operator, worker)
    row = run.steps.get(key="s1.undo")

    offers = step_acts.by_id(operator.actor(), row.pk)
    assert [str(offer.act) for offer in offers.possible] == [
        "retry",
        "skip",
        "complete",
    ]
    assert step_acts.is_shown(row)
    own = step_acts.by_id(proposer.actor(), row.pk)
    assert "right" in own.of(StepAct.COMPLETE).why_not.lower()


def test_a_second_failure_after_a_skip_stops_the_rollback_again(
    proposer, operator, worker, witness
):
    run = stopped(proposer, operator, worker)
    step_actions.skip(asked(run, "s1.undo", operator))

    completed(claimed(run, "s0.undo"), Failure("lab.refused", "No.", ran=True))
    run.refresh_from_db()
    assert run.reason == "The rollback stopped. Step s0.undo failed."
    shown = rollback.preview(run_id=run.pk, by=operator.actor(), at=clock.now())
    assert [each.title for each in shown.undos] == ["s0"]
    assert [each.title for each in shown.not_undone] == ["s1"]
    step_actions.retry(asked(run, "s0.undo", operator))
    completed(claimed(run, "s0.undo"))

    run.refresh_from_db()
    assert run.reason == "2 steps were undone. Skipped by a user: s1.undo."
    kinds = [event.kind for event in record.events_after(run.stream, 0)]
    assert kinds.count("run.rollback_started") == 3


def test_after_a_part_was_skipped_the_rest_of_the_run_can_be_rolled_back(
    proposer, operator, worker, witness
):
    text = plan(done("s0"), done("s1", after="s0", rollback=FAILS))
    run = driven(approved(text, proposer, operator), worker)
    rolled_back(run, operator, to="s0")
    run = driven(run, worker)
    with pytest.raises(NothingToUndo):  # the step whose undo has failed stays
        rolled_back(run, operator, to="s1")
    step_actions.skip(asked(run, "s1.undo", operator))
    run.refresh_from_db()
    assert run.state == "rollback_failed"

    rolled_back(run, operator)
    run = driven(run, worker)

    assert marks(witness)[2:] == ["undo-s0"]
    assert states(run)["s0"] == "compensated"
