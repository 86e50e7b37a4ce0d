"""Approvals of a rerun: which are carried over from the run before, and which are not."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Group

from approvals.models import Decision, Gate
from audit import selectors as audit
from audit.models import Event
from execfabric.lib import clock
from execfabric.lib.rights import Role
from orchestration.runs.control import proposals
from orchestration.runs.models import Run
from orchestration.trace.services import streams
from tests.builders import (
    decided,
    driven,
    end_dry_runs,
    open_gate,
    plan,
    proposed,
    states,
    step,
)
from tests.integration.rerun_builders import rerun

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]
WORD = {"properties": {"word": {"type": "string"}}}


def gated() -> str:
    return plan(
        step("first", params={"value": "a"}),
        step("risky", "risky", after="first", params={"value": "$inputs.word"}),
        {
            "id": "ask",
            "kind": "approval",
            "dependsOn": ["risky"],
            "approval": {"reason": "Is it right?"},
        },
        inputs=WORD,
    )


def gated_run(proposer, operator, worker, **inputs) -> Run:
    """Return a finished run with an approved plan, action and question."""
    run = driven(
        _with_approvals(proposed(gated(), proposer, inputs), operator, worker), worker
    )
    assert run.state == "succeeded", run.reason
    return run


def _with_approvals(run: Run, operator, worker) -> Run:
    while gate := Gate.objects.filter(
        context_id=run.pk, status__in=("requested", "partial")
    ).first():
        decided(gate, operator)
        driven(run, worker)
    return run


def statuses(run: Run) -> dict[str, str]:
    rows = Gate.objects.filter(context_id=run.pk).order_by("pk")
    return dict(rows.values_list("step", "status"))


@pytest.mark.usefixtures("path")
def test_approvals_of_the_same_content_are_not_asked_again(
    proposer, operator, worker
) -> None:
    run = gated_run(proposer, operator, worker, word="x")

    again = driven(rerun(run, proposer, "risky"), worker)

    assert again.state == "succeeded", again.reason
    assert statuses(again) == {"": "approved", "risky": "approved", "ask": "approved"}
    assert again.steps.get(key="risky").attempts.count() == 1
    events = Event.objects.filter(stream=again.stream, kind="gate.carried")
    first = Gate.objects.filter(context_id=run.pk).order_by("pk")
    carried = [audit.envelope(each)["payload"] for each in events.order_by("seq")]
    assert [each["from_gate"] for each in carried] == [str(g.pk) for g in first]
    assert [each["from_decisions"] for each in carried] == [
        [str(d.pk) for d in g.decisions.all()] for g in first
    ]
    decision = Decision.objects.filter(gate__context_id=again.pk).first()
    assert (decision.channel, decision.voter_key) == ("carried", operator.actor().key)
    verified = streams.verify_stream(again.stream)
    assert (verified.broken, verified.differences) == (None, [])
    for earlier, later in zip(first, statuses(again), strict=True):
        gate = Gate.objects.get(context_id=again.pk, step=later)
        assert gate.expires_at == earlier.expires_at


def test_other_content_is_asked_again(proposer, operator, worker) -> None:
    run = gated_run(proposer, operator, worker, word="x")

    again = rerun(run, proposer, "risky", changes={"word": "y"})

    assert (again.state, statuses(again)) == ("awaiting_approval", {"": "requested"})
    decided(open_gate(again), operator)
    driven(again, worker)
    assert states(again)["risky"] == "gated"


def test_another_proposer_asks_again(
    proposer, operator, second_operator, worker
) -> None:
    run = gated_run(proposer, operator, worker, word="x")

    by_approver = rerun(run, operator, "risky")
    by_other = rerun(run, second_operator, "risky")

    assert by_approver.state == by_other.state == "awaiting_approval"


def test_an_agent_asks_again(proposer, operator, worker, agent) -> None:
    run = proposals.propose(
        text=gated(), inputs={"word": "x"}, by=agent, at=clock.now()
    )
    end_dry_runs()
    run = driven(_with_approvals(run, operator, worker), worker)
    assert run.state == "succeeded"

    again = proposals.rerun(run_id=run.pk, by=agent, at=clock.now())

    assert again.state == "awaiting_approval"


@pytest.mark.parametrize("lost", ["right", "account"])
def test_an_approver_without_the_right_does_not_count(
    proposer, operator, second_operator, worker, lost
) -> None:
    run = gated_run(proposer, operator, worker, word="x")
    if lost == "right":
        operator.groups.remove(Group.objects.get(name=str(Role.OPERATOR)))
    else:
        operator.is_active = False
        operator.save()

    assert rerun(run, proposer, "risky").state == "awaiting_approval"


def test_an_approval_that_has_expired_is_asked_again(
    proposer, operator, worker, monkeypatch
) -> None:
    run = gated_run(proposer, operator, worker, word="x")
    later = clock.now() + timedelta(days=8)
    monkeypatch.setattr(clock, "now", lambda: later)

    assert rerun(run, proposer, "risky").state == "awaiting_approval"


def test_a_right_that_is_lost_after_it_was_carried_stops_the_step(
    proposer, operator, second_operator, worker
) -> None:
    run = gated_run(proposer, operator, worker, word="x")
    again = rerun(run, proposer)
    assert again.state == "running"
    operator.groups.remove(Group.objects.get(name=str(Role.OPERATOR)))

    driven(again, worker)

    assert again.state == "awaiting_approval"
    assert not again.steps.filter(attempts__isnull=False).exists()


def test_a_rejection_is_never_carried(proposer, operator, worker) -> None:
    run = proposed(gated(), proposer, {"word": "x"})
    decided(open_gate(run), operator, approve=False)
    run.refresh_from_db()

    assert rerun(run, proposer).state == "awaiting_approval"
