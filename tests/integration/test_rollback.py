"""Rollback by hand: what has run is undone, the last step first."""

from datetime import timedelta

import pytest

from approvals.errors import OwnProposal
from audit import selectors as audit
from audit.models import Event
from execfabric.lib import clock
from execfabric.lib.machine import IllegalTransition
from orchestration.runs.control import control, recovery, rollback
from orchestration.runs.domain.results import Failure, Finished, Lost
from orchestration.runs.errors import (
    NotControllable,
    NothingToUndo,
    PreviewChanged,
    RollbackBlocked,
    RollbackReasonRequired,
    RollbackTargetInvalid,
)
from orchestration.runs.models import Attempt
from orchestration.trace.services.streams import verify_stream
from tests.builders import (
    approved,
    claimed,
    completed,
    decided,
    driven,
    open_gate,
    plan,
    proposed,
    states,
    step,
)
from tests.database import record_attempts
from tests.integration.rollback_builders import (
    FAILS,
    done,
    failing,
    marks,
    rolled_back,
    undoable,
)

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]


WRITTEN = Finished({"mark": "s0"}, {})


def kinds(run):
    return list(
        Event.objects.filter(stream=run.stream).order_by("seq").values_list("kind")
    )


def preview(run, by, to=""):
    return rollback.preview(run_id=run.id, by=by.actor(), at=clock.now(), to=to)


def long_ago(run):
    """Move the attempts of a run so far back that their processes are dead."""
    attempts = Attempt.objects.filter(step_run__run=run)
    record_attempts(timedelta(days=1), attempts)


def test_a_succeeded_run_is_undone_from_its_last_step_to_its_first(
    proposer, operator, worker, witness
):
    run = driven(approved(undoable(3), proposer, operator), worker)
    assert run.state == "succeeded"

    rolled_back(run, operator)
    run = driven(run, worker)

    assert run.state == "rolled_back"
    assert run.reason == "3 steps were undone."
    assert marks(witness)[3:] == ["undo-s2", "undo-s1", "undo-s0"]
    found = states(run)
    assert {found[f"s{n}"] for n in range(3)} == {"compensated"}
    assert {found[f"s{n}.undo"] for n in range(3)} == {"succeeded"}
    assert kinds(run).count(("run.rollback_started",)) == 1


def test_a_paused_run_is_undone_and_what_has_not_run_is_cancelled(
    proposer, operator, worker, witness
):
    text = undoable(2, failing("bad", after="s1"), done("later", after="bad"))
    run = driven(approved(text, proposer, operator), worker)
    assert run.state == "paused"

    rolled_back(run, proposer)
    run = driven(run, worker)

    assert run.state == "rolled_back"
    assert marks(witness) == ["s0", "s1", "undo-s1", "undo-s0"]
    assert states(run)["bad"] == "failed"
    assert states(run)["later"] == "cancelled"


def test_a_run_is_undone_back_to_a_step_and_then_whole(
    proposer, operator, worker, witness
):
    run = driven(approved(undoable(3), proposer, operator), worker)

    rolled_back(run, operator, to="s0")
    run = driven(run, worker)
    assert run.state == "rolled_back"
    assert marks(witness)[3:] == ["undo-s2", "undo-s1"]
    assert states(run)["s0"] == "succeeded"
    begun = Event.objects.get(stream_id=run.stream, kind="run.rollback_started")
    told = audit.envelope(begun)["payload"]
    assert (told["from"], told["to"]) == ("succeeded", "rolling_back")
    assert told["back_to"] == "s0"

    rolled_back(run, operator)
    run = driven(run, worker)
    assert marks(witness)[5:] == ["undo-s0"]
    with pytest.raises(NothingToUndo):
        preview(run, operator)


def test_items_steps_of_sub_plans_and_used_fallbacks_are_undone_in_order(
    proposer, operator, worker, witness
):
    each = done("each", forEach=["a", "b"], params={"mark": "each-$item"})
    fallback = {"skill": "lab", "action": "witness", "params": {"mark": "instead"}}
    tried = step("tried", "once", params={"how": "fail"}, fallback=fallback)
    text = plan(each, tried | {"dependsOn": ["each"]}, done("last", after="tried"))
    run = driven(approved(text, proposer, operator), worker)
    assert run.state == "succeeded"

    shown = preview(run, operator)

    assert [each.title for each in shown.undos] == ["last", "each [1]", "each [0]"]
    # The step itself failed after it began, and may have changed something.
    assert [each.title for each in shown.not_undone] == ["tried.fallback", "tried"]
    rolled_back(run, operator)
    driven(run, worker)
    assert marks(witness)[-3:] == ["undo-last", "undo-each-b", "undo-each-a"]


def test_the_preview_shows_exact_params_and_what_stays(proposer, operator, worker):
    text = plan(
        step("look", "echo"),
        step("keeps", "witness", params={"mark": "keeps"}, after="look"),
        done("one", after="keeps"),
    )
    run = driven(approved(text, proposer, operator), worker)

    shown = preview(run, operator)

    assert [(u.title, u.action, u.params) for u in shown.undos] == [
        ("one", "witness", {"mark": "undo-one"})
    ]
    assert [(n.title, n.reason) for n in shown.not_undone] == [
        ("keeps", "No undo is declared for it.")
    ]
    assert shown.read_only == ("look",)
    run.refresh_from_db()
    assert run.state == "succeeded"


def test_a_confirmation_of_another_preview_is_refused(proposer, operator, worker):
    run = driven(approved(undoable(2), proposer, operator), worker)
    shown = preview(run, operator, to="s0")

    with pytest.raises(PreviewChanged):
        rollback.roll_back(
            run_id=run.id,
            by=operator.actor(),
            at=clock.now(),
            reason="All of it.",
            digest=shown.digest,
        )

    run.refresh_from_db()
    assert run.state == "succeeded"
    assert not run.steps.filter(key__endswith=".undo").exists()


def test_who_may_not_control_a_run_cannot_roll_it_back(
    proposer, operator, second, worker, auditor
):
    run = driven(approved(undoable(1), proposer, operator), worker)

    with pytest.raises(NotControllable):
        rolled_back(run, auditor)
    with pytest.raises(RollbackReasonRequired):
        rolled_back(run, operator, reason=" ")


def test_a_running_run_must_be_stopped_first(proposer, operator):
    run = approved(undoable(2), proposer, operator)

    with pytest.raises(IllegalTransition, match="Pause or cancel it first"):
        rolled_back(run, operator)


def test_an_unknown_target_is_refused(proposer, operator, worker):
    text = undoable(1, failing("bad", after="s0"))
    run = driven(approved(text, proposer, operator), worker)

    for to in ("nowhere", "bad"):
        with pytest.raises(RollbackTargetInvalid):
            preview(run, operator, to=to)


def test_nothing_to_undo_is_said(proposer, operator, worker):
    run = driven(approved(plan(step("look", "echo")), proposer, operator), worker)

    with pytest.raises(NothingToUndo):
        preview(run, operator)


def test_an_unknown_outcome_blocks_the_rollback_until_it_is_resolved(
    proposer, operator, admin, worker, witness
):
    run = approved(undoable(2), proposer, operator)
    lease = claimed(run, "s0")
    lease = completed(lease)
    assert lease is not None
    completed(lease, Lost("lab.silent", "The target did not answer."))
    run.refresh_from_db()
    assert run.state == "paused"

    with pytest.raises(RollbackBlocked, match="outcome of step 's1' is unknown"):
        preview(run, admin)

    s1 = run.steps.get(key="s1")
    recovery.resolve(
        step_run_id=s1.id,
        happened=True,
        evidence="Seen.",
        output={"mark": "s1"},
        by=admin.actor(),
        at=clock.now(),
    )
    # Its process may still run: it can be undone once that is certainly dead.
    with pytest.raises(RollbackBlocked, match="may still be running"):
        preview(run, admin)
    long_ago(run)
    assert [each.title for each in preview(run, admin).undos] == ["s1", "s0"]


def test_a_step_that_happened_without_its_output_is_not_undone(
    proposer, operator, admin, worker, witness
):
    run = approved(undoable(2), proposer, operator)
    lease = claimed(run, "s0")
    completed(lease, Lost("lab.silent", "The target did not answer."))
    recovery.resolve(
        step_run_id=run.steps.get(key="s0").id,
        happened=True,
        evidence="Seen.",
        by=admin.actor(),
        at=clock.now(),
    )
    control.resume(run_id=run.id, by=operator.actor(), at=clock.now())
    run = driven(run, worker)
    assert run.state == "succeeded"
    long_ago(run)

    shown = preview(run, operator)
    assert [bool(each.reason) for each in shown.undos] == [False, True]
    assert "'mark' does not exist" in shown.undos[1].reason
    rolled_back(run, operator)
    run = driven(run, worker)

    assert run.state == "rollback_failed"
    assert run.reason == "1 step was undone. Cannot run: s0.undo."
    assert states(run)["s1"] == "compensated"
    assert states(run)["s0"] == "compensation_failed"


def test_a_failing_undo_stops_the_rollback_and_can_be_retried(
    proposer, operator, worker, witness, caplog
):
    steps = [
        done("s0"),
        done("s1", after="s0"),
        done("s2", after="s1", rollback=FAILS),
        done("s3", after="s2"),
    ]
    run = driven(approved(plan(*steps), proposer, operator), worker)

    rolled_back(run, operator)
    run = driven(run, worker)

    assert run.state == "rollback_failed"
    assert run.reason == "The rollback stopped. Step s2.undo failed."
    assert marks(witness)[4:] == ["undo-s3"]
    found = states(run)
    assert found["s2"] == "compensation_failed"
    assert (found["s1"], found["s0"]) == ("succeeded", "succeeded")
    assert (found["s1.undo"], found["s0.undo"]) == ("skipped", "skipped")
    assert "needs an operator" in caplog.text

    rolled_back(run, operator)
    run.refresh_from_db()
    assert run.state == "rolling_back"
    lease = claimed(run, "s2.undo")
    assert completed(lease, Failure("lab.refused", "No.", ran=True)) is None
    run.refresh_from_db()
    assert run.state == "rollback_failed"

    rolled_back(run, operator)
    lease = completed(claimed(run, "s2.undo"))
    assert lease is not None
    assert lease.key == "s1.undo"
    completed(completed(lease))
    run.refresh_from_db()
    assert run.state == "rolled_back"
    assert marks(witness)[4:] == ["undo-s3"]
    assert states(run)["s2"] == "compensated"


def test_an_undo_with_an_unknown_outcome_stops_the_rollback(
    proposer, operator, admin, worker, witness
):
    run = driven(approved(undoable(2), proposer, operator), worker)
    rolled_back(run, operator)
    lease = claimed(run, "s1.undo")
    assert completed(lease, Lost("lab.silent", "No answer.")) is None
    run.refresh_from_db()
    assert run.state == "rollback_failed"
    assert "Outcome unknown" in run.reason
    assert states(run)["s0.undo"] == "skipped"
    with pytest.raises(RollbackBlocked):
        rolled_back(run, operator)

    recovery.resolve(
        step_run_id=run.steps.get(key="s1.undo").id,
        happened=True,
        evidence="The target shows it.",
        output={"mark": "undo-s1"},
        by=admin.actor(),
        at=clock.now(),
    )
    assert states(run)["s1"] == "compensated"
    long_ago(run)
    rolled_back(run, operator)
    assert driven(run, worker).state == "rolled_back"


def test_a_rollback_ends_when_its_last_undo_is_found_to_have_happened(
    proposer, operator, admin, worker, witness
):
    run = driven(approved(undoable(1), proposer, operator), worker)
    rolled_back(run, operator)
    completed(claimed(run, "s0.undo"), Lost("lab.silent", "No answer."))
    recovery.resolve(
        step_run_id=run.steps.get(key="s0.undo").id,
        happened=True,
        evidence="The target shows it.",
        by=admin.actor(),
        at=clock.now(),
    )

    run.refresh_from_db()
    assert (run.state, run.reason) == ("rolled_back", "1 step was undone.")
    assert verify_stream(run.stream).differences == []


def test_an_undo_of_high_risk_needs_its_own_approval(
    proposer, operator, second_operator, worker, witness
):
    undo = {"action": "witness-gated", "params": {"mark": "gated"}}
    text = plan(done("s0"), done("s1", after="s0", rollback=undo))
    run = driven(approved(text, proposer, operator), worker)

    shown = preview(run, operator)
    assert [each.needs_approval for each in shown.undos] == [True, False]
    rolled_back(run, second_operator)
    run = driven(run, worker)
    assert run.state == "rolling_back"
    gate = open_gate(run, "s1.undo")
    with pytest.raises(OwnProposal):  # of the rollback
        decided(gate, second_operator)
    decided(gate, operator)
    run = driven(run, worker)

    assert run.state == "rolled_back"
    assert marks(witness)[2:] == ["gated", "undo-s0"]


def test_a_rejected_undo_stops_the_rollback(proposer, operator, worker, witness):
    undo = {"action": "witness-gated", "params": {"mark": "gated"}}
    text = plan(done("s0"), done("s1", after="s0", rollback=undo))
    run = driven(approved(text, proposer, operator), worker)
    rolled_back(run, proposer)
    decided(open_gate(run, "s1.undo"), operator, approve=False)
    run.refresh_from_db()

    assert run.state == "rollback_failed"
    assert states(run)["s1"] == "compensation_failed"
    assert states(run)["s0.undo"] == "skipped"
    assert marks(witness) == ["s0", "s1"]


def test_a_cancelled_run_is_undone(proposer, operator, worker, witness):
    run = approved(undoable(2), proposer, operator)
    lease = completed(claimed(run, "s0"), WRITTEN)
    control.cancel(run_id=run.id, by=operator.actor(), at=clock.now())
    completed(lease, WRITTEN)
    run.refresh_from_db()
    assert run.state == "cancelled"

    rolled_back(run, operator)
    run = driven(run, worker)

    assert run.state == "rolled_back"
    assert set(states(run).values()) == {"compensated", "succeeded"}


def test_a_run_that_never_started_has_nothing_to_undo(proposer, operator):
    run = proposed(undoable(1), proposer)
    decided(open_gate(run), operator, approve=False)

    with pytest.raises(NothingToUndo):
        preview(run, operator)
