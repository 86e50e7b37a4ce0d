"""An approval is proven again from its decisions each time before a step runs."""

from functools import partial

import pytest

from approvals.errors import ProposerInactive
from approvals.models import Gate
from audit import selectors as record
from execfabric.identity.models import Agent, User
from execfabric.lib import clock
from execfabric.lib.ids import span_id
from orchestration.runs.control import control
from orchestration.runs.domain.results import Finished
from orchestration.runs.engine import attempts
from orchestration.runs.models import Attempt
from orchestration.runs.worker import work
from tests.builders import (
    approved,
    chain,
    decided,
    driven,
    open_gate,
    plan,
    proposed,
    states,
    step,
)
from tests.database import forged

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry", "path"),
]

GUARDED = ("approvals_gate", "approvals_decision")
WITNESS = plan(step("effect", "witness", params={"mark": "done"}))


in_guarded = partial(forged, tables=GUARDED)


def tried(run, worker):
    """Return the run after one hint to a worker."""
    work.work(step_run_id=run.steps.get().id, context=worker)
    run.refresh_from_db()
    return run


def voided(run) -> str:
    """Return the reason why the plan's approval was voided."""
    kinds = {event.kind: event for event in record.events_after(run.stream, 0)}
    return record.envelope(kinds["run.approval_voided"])["payload"]["reason"]


def test_a_plan_gate_set_to_approved_without_a_decision_runs_nothing(
    proposer, worker, witness
):
    run = proposed(WITNESS, proposer)
    gate = open_gate(run)
    in_guarded(
        "UPDATE approvals_gate SET status = 'approved', settled_at = now(),"
        " settled_reason = 'x' WHERE id = %s",
        gate.id,
    )
    in_guarded("UPDATE runs_run SET state = 'running' WHERE id = %s", run.id)
    in_guarded("UPDATE runs_steprun SET state = 'pending' WHERE run_id = %s", run.id)
    control.pause(run_id=run.id, by=proposer.actor(), at=clock.now())
    control.resume(run_id=run.id, by=proposer.actor(), at=clock.now())

    run = driven(run, worker)

    assert witness.read() == []
    assert run.state == "awaiting_approval"
    assert "not enough" in voided(run)
    assert open_gate(run).rev == 2


def remove_the_decision(run, operator):
    in_guarded("DELETE FROM approvals_decision WHERE gate_id = %s", run.gate_id)


def move_the_decision_out_of_time(run, operator):
    in_guarded(
        "UPDATE approvals_decision SET at = at - interval '1 day' WHERE gate_id = %s",
        run.gate_id,
    )


def put_another_digest_into_the_decision(run, operator):
    in_guarded(
        "UPDATE approvals_decision SET digest = sha256('x') WHERE gate_id = %s",
        run.gate_id,
    )


def give_the_decision_to_the_proposer(run, operator):
    in_guarded(
        "UPDATE approvals_decision SET voter_key = %s WHERE gate_id = %s",
        run.proposer,
        run.gate_id,
    )


def take_the_right_from_the_approver(run, operator):
    operator.groups.clear()


def deactivate_the_approver(run, operator):
    User.objects.filter(pk=operator.pk).update(is_active=False)


def let_the_approval_expire(run, operator):
    in_guarded(
        "UPDATE approvals_gate SET expires_at = requested_at + interval '1 ms'"
        " WHERE id = %s",
        run.gate_id,
    )


@pytest.mark.usefixtures("second_operator")
@pytest.mark.parametrize(
    ("tamper", "sentence"),
    [
        (remove_the_decision, "not enough"),
        (move_the_decision_out_of_time, "outside the approval's time"),
        (put_another_digest_into_the_decision, "made on other content"),
        (give_the_decision_to_the_proposer, "not enough"),
        (take_the_right_from_the_approver, "not enough"),
        (deactivate_the_approver, "not enough"),
        (let_the_approval_expire, "expired"),
    ],
)
def test_a_plan_approval_that_cannot_be_proven_is_voided_before_a_step_runs(
    tamper, sentence, proposer, operator, worker, witness
):
    run = approved(WITNESS, proposer, operator)
    tamper(run, operator)

    run = driven(run, worker)

    assert witness.read() == []
    assert run.state == "awaiting_approval"
    assert sentence in voided(run)
    assert not Attempt.objects.exists()


def test_the_run_goes_on_after_a_new_approval(
    proposer, operator, second_operator, worker, witness
):
    run = approved(WITNESS, proposer, operator)
    deactivate_the_approver(run, operator)
    run = driven(run, worker)

    decided(open_gate(run), second_operator)
    run = driven(run, worker)

    assert run.state == "succeeded"
    assert len(witness.read()) == 1


def test_a_worker_that_remembers_the_run_asks_again_before_each_step(
    proposer, operator, worker
):
    run = approved(chain(3), proposer, operator)
    lease = attempts.claim(
        step_run_id=run.steps.get(key="s0").id,
        worker="w",
        session=span_id(),
        at=clock.now(),
        cache=worker.cache,
    )
    deactivate_the_approver(run, operator)

    following = attempts.complete(
        lease,
        Finished({}, {}),
        worker="w",
        session=span_id(),
        at=clock.now(),
        cache=worker.cache,
    )

    assert following is None
    assert states(run) == {"s0": "succeeded", "s1": "pending", "s2": "pending"}
    run.refresh_from_db()
    assert run.state == "awaiting_approval"


def test_the_database_itself_refuses_an_approval_without_decisions(proposer):
    gate = open_gate(proposed(WITNESS, proposer))

    with pytest.raises(Exception, match="without the decisions"):
        Gate.objects.filter(pk=gate.pk).update(
            status="approved", settled_at=clock.now(), settled_reason="x"
        )


def test_a_run_whose_proposer_was_deactivated_pauses_and_nothing_runs(
    proposer, operator, worker, witness
):
    run = approved(WITNESS, proposer, operator)
    User.objects.filter(pk=proposer.pk).update(is_active=False)

    run = tried(run, worker)

    assert witness.read() == []
    assert (run.state, states(run)) == ("paused", {"effect": "ready"})
    assert "deactivated" in run.reason
    with pytest.raises(ProposerInactive):
        control.resume(run_id=run.id, by=operator.actor(), at=clock.now())

    User.objects.filter(pk=proposer.pk).update(is_active=True)
    control.resume(run_id=run.id, by=operator.actor(), at=clock.now())
    run = driven(run, worker)
    assert run.state == "succeeded"
    assert len(witness.read()) == 1


def test_a_plan_of_a_deactivated_proposer_can_be_rejected_but_not_approved(
    proposer, operator
):
    run = proposed(WITNESS, proposer)
    User.objects.filter(pk=proposer.pk).update(is_active=False)

    with pytest.raises(ProposerInactive):
        decided(open_gate(run), operator)

    assert decided(open_gate(run), operator, approve=False).status == "rejected"


@pytest.mark.parametrize("who", ["agent", "owner"])
def test_an_agent_counts_as_active_only_with_its_owner(
    who, proposer, operator, worker, witness
):
    agent = Agent.objects.create(
        name="reporter", owner=proposer, created_at=clock.now()
    )
    run = proposed(WITNESS, agent)
    decided(open_gate(run), operator)
    row = agent if who == "agent" else proposer
    type(row).objects.filter(pk=row.pk).update(is_active=False)

    run = tried(run, worker)

    assert run.state == "paused"
    assert witness.read() == []


def test_a_plan_approval_ends_with_its_expiry(proposer, operator):
    run = approved(chain(1), proposer, operator)
    expires = Gate.objects.get(pk=run.gate_id).expires_at

    late = attempts.claim(
        step_run_id=run.steps.get().id,
        worker="w",
        session=span_id(),
        at=expires,
    )

    run.refresh_from_db()
    assert late is None
    assert run.state == "awaiting_approval"
