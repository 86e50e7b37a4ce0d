"""Reruns of runs with unknown outcomes: no effect is repeated unless it is chosen."""

from datetime import timedelta
from uuid import uuid4

import pytest

from execfabric.lib import clock
from orchestration.runs.control import control, recovery
from orchestration.runs.errors import (
    OldAttemptMayLive,
    RerunOutcomeUnknown,
    RerunStepUnresolved,
)
from orchestration.runs.models import Run
from tests.builders import approved, decided, driven, open_gate, plan, states, step
from tests.console_builders import rows, signed_in, words
from tests.integration.rerun_builders import (
    rerun,
    rerun_of,
    reused,
    run_again,
    with_approval,
)
from tests.integration.subplan_builders import inner, save, uses
from tests.integration.test_abandoned import aged, found, unknown_of
from tests.web.run_builders import step_of

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry", "witness"),
]
PAY = step("pay", "witness", params={"mark": "pay"})


def text() -> str:
    """Return a plan with a payment, and a step beside it that fails."""
    bad = step("bad", "misbehave", params={"how": "fail"})
    return plan(PAY, bad, step("last", after="pay"), onFailure="continue")


def abandoned(proposer, operator, worker) -> Run:
    """Return an ended run whose payment was given up, seconds after it began."""
    run = approved(text(), proposer, operator)
    found(unknown_of(run, "pay"), operator, happened=None)
    control.resume(run_id=run.pk, by=operator.actor(), at=clock.now())
    run = driven(run, worker)
    assert run.finished_at, (run.state, run.reason)
    return run


def test_an_unknown_outcome_is_resolved_before_a_rerun(proposer, operator) -> None:
    run = approved(text(), proposer, operator)
    unknown_of(run, "pay")
    control.cancel(run_id=run.pk, by=proposer.actor(), at=clock.now())
    run.refresh_from_db()
    assert run.state == "cancelled"
    aged()

    for first in ("", "pay", "bad", "last"):
        with pytest.raises(RerunStepUnresolved) as refused:
            rerun_of(run, proposer, first)
    assert refused.value.details == {"run": str(run.pk), "steps": ["pay"]}
    assert "pay" in refused.value.message
    assert Run.objects.count() == 1


def test_a_rerun_waits_until_the_lost_worker_is_dead(
    proposer, operator, worker
) -> None:
    run = abandoned(proposer, operator, worker)

    with pytest.raises(OldAttemptMayLive):
        rerun_of(run, proposer, "pay")
    aged()
    assert rerun_of(run, proposer, "pay").rerun_of_id == run.pk


def test_an_abandoned_effect_is_repeated_only_if_it_is_chosen(
    proposer, operator, worker, witness
) -> None:
    run = abandoned(proposer, operator, worker)
    aged()

    for first in ("bad", "last"):
        with pytest.raises(RerunOutcomeUnknown) as refused:
            rerun_of(run, proposer, first)
        assert refused.value.details == {"steps": ["pay"]}
    assert Run.objects.count() == 1
    page = signed_in(proposer).get(f"/runs/{run.pk}/rerun")
    assert rows(page, "rerun-unknown") == 1
    assert "These steps may have had their effect: pay" in words(page)

    # Its approval is not carried: one person alone must not repeat it.
    assert rerun(run, proposer, "pay").state == "awaiting_approval"
    assert rerun(run, proposer).state == "awaiting_approval"
    assert witness.read() == []


def test_a_rerun_that_did_not_reach_the_step_settles_nothing(
    proposer, operator, worker
) -> None:
    run = abandoned(proposer, operator, worker)
    aged()
    between = rerun(run, proposer, "pay")
    control.cancel(run_id=between.pk, by=proposer.actor(), at=clock.now())
    between.refresh_from_db()

    with pytest.raises(RerunOutcomeUnknown):
        rerun_of(between, proposer, "bad")


def test_a_repeated_request_is_answered_before_these_checks(
    proposer, operator, worker
) -> None:
    run = abandoned(proposer, operator, worker)
    aged()
    key = str(uuid4())
    first = rerun_of(run, proposer, "pay", idempotency_key=key)
    aged(timedelta())

    assert rerun_of(run, proposer, "pay", idempotency_key=key).pk == first.pk


@pytest.mark.parametrize(("how", "refused"), [("fail", True), ("early", False)])
def test_a_step_that_failed_after_it_began_is_not_repeated_either(
    proposer, operator, worker, how, refused
) -> None:
    failing = step("pay", "once", params={"how": how})
    run = approved(
        plan(failing, step("beside"), onFailure="continue"), proposer, operator
    )
    run = driven(run, worker)
    assert run.finished_at, (run.state, run.reason)

    if refused:
        with pytest.raises(RerunOutcomeUnknown):
            rerun_of(run, proposer, "beside")
    else:
        rerun_of(run, proposer, "beside")


def test_the_success_of_one_item_settles_no_other_one(
    proposer, operator, worker
) -> None:
    make = step("make", "once", params={"how": "$inputs.word"})
    save(inner(make, outputs={}), proposer)
    each = uses(word="$item", forEach="$inputs.words", onItemError="continue")
    words_of = {"properties": {"words": {"type": "array"}}}
    run = approved(
        plan(each, step("beside"), inputs=words_of, onFailure="continue"),
        proposer,
        operator,
        words=["fail", "ok"],
    )
    run = driven(run, worker)
    assert run.finished_at, (run.state, run.reason)

    with pytest.raises(RerunOutcomeUnknown) as refused:
        rerun_of(run, proposer, "beside")
    assert refused.value.details == {"steps": ["sub/make"]}


def test_a_reused_result_says_that_a_person_gave_it(
    proposer, operator, worker, witness
) -> None:
    run = approved(plan(PAY, step("last", after="pay")), proposer, operator)
    recovery.resolve(
        step_run_id=unknown_of(run, "pay").pk,
        happened=True,
        evidence="Seen at the bank.",
        output={"mark": "by hand"},
        by=operator.actor(),
        at=clock.now(),
    )
    control.resume(run_id=run.pk, by=operator.actor(), at=clock.now())
    run = driven(run, worker)
    assert run.state == "succeeded", run.reason
    aged()

    again = run_again(run, proposer, operator, worker, "last")
    further = run_again(again, proposer, operator, worker, "last")

    assert witness.read() == []
    client = signed_in(proposer)
    for made in (again, further):
        assert reused(made) == {"pay": True, "last": False}
        assert rows(step_of(made, "pay", client), "reused-by-hand") == 1
    other = approved(plan(step("first"), step("last")), proposer, operator)
    plain = run_again(driven(other, worker), proposer, operator, worker, "last")
    assert rows(step_of(plain, "first", client), "reused-by-hand") == 0


def test_the_approval_of_an_abandoned_step_is_asked_again(
    proposer, operator, worker, witness
) -> None:
    run = approved(plan(PAY | {"approval": {"reason": "Money."}}), proposer, operator)
    decided(open_gate(run, "pay"), operator)
    found(unknown_of(run, "pay"), operator, happened=None)
    control.cancel(run_id=run.pk, by=proposer.actor(), at=clock.now())
    aged()

    again = driven(with_approval(rerun(run, proposer), operator), worker)

    assert states(again) == {"pay": "gated"}
    assert witness.read() == []
