"""Steps that ask for values, on the real engine."""

from datetime import timedelta

import pytest

from approvals.errors import (
    GateAlreadySettled,
    GateExpired,
    GateSuperseded,
    NotInGroup,
    OwnProposal,
    StaleDigest,
)
from approvals.models import Decision, Gate
from audit import selectors as audit
from execfabric.identity.errors import AgentsCannotDecide
from execfabric.lib import clock
from execfabric.lib.actor import Actor, ActorKind
from orchestration.runs.control import answers, control
from orchestration.runs.errors import (
    AlreadyAnswered,
    AnswerInvalid,
    NotAnInput,
    ValuesRequired,
)
from orchestration.runs.keeper import sweep
from orchestration.trace.services import streams
from tests.builders import (
    approved,
    decided,
    driven,
    open_gate,
    outputs,
    plan,
    proposed,
    states,
    step,
)

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry", "path"),
]

FORM = {
    "type": "object",
    "properties": {
        "amount": {"type": "integer", "minimum": 1, "examples": [5]},
        "note": {"type": "string", "default": "none"},
    },
    "required": ["amount"],
    "additionalProperties": False,
}


def asks(key="ask", *, form=None, **fields):
    ask = {"reason": "How much is it?", "expiresIn": "2d", **fields.pop("ask", {})}
    return {"id": key, "kind": "input", "form": form or FORM, "ask": ask, **fields}


TEXT = plan(asks(), step("book", after="ask", params={"amount": "$ask.output.amount"}))


def answered(gate, by, values=None, *, digest="", at=None):
    return answers.answer(
        gate_id=gate.pk,
        by=by if isinstance(by, Actor) else by.actor(),
        digest=digest or gate.digest_hex,
        values={"amount": 7} if values is None else values,
        channel="api",
        at=at or clock.now(),
    )


def asking(proposer, operator, text=TEXT):
    run = approved(text, proposer, operator)
    return run, open_gate(run, "ask")


@pytest.mark.promise("S3.60")
def test_an_answer_is_the_output_of_the_step(proposer, operator, worker):
    run, gate = asking(proposer, operator)
    before = states(run)
    answered(gate, operator)
    run = driven(run, worker)

    assert (gate.subject_kind, before) == ("input", {"ask": "gated", "book": "pending"})
    assert gate.expires_at - gate.requested_at == timedelta(days=2)
    assert run.state == "succeeded"
    assert outputs(run) == {
        "ask": {"amount": 7, "note": "none"},
        "book": {"amount": 7},
    }
    checked = streams.verify_stream(run.stream)
    assert (checked.broken, checked.differences) == (None, [])


def test_the_event_says_who_answered(proposer, operator):
    run, gate = asking(proposer, operator)
    answered(gate, operator)

    found = audit.events_after(run.stream, 0, limit=500)
    done = [audit.envelope(one) for one in found if one.kind == "step.succeeded"]
    [payload] = [one["payload"] for one in done]
    assert payload["answered_by"]["id"] == operator.actor().as_fact()["id"]
    assert payload["gate"] == str(gate.pk)
    assert Decision.objects.get(gate=gate).voter_key == operator.actor().key


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({}, ["amount"]),
        ({"amount": 0}, ["amount"]),
        ({"amount": "7"}, ["amount"]),
        ({"amount": 7, "note": 1}, ["note"]),
        ({"amount": 1e16}, [""]),
        ({"amount": 7, "extra": 1}, [""]),
        ({"amount": {"$file": {"sha256": "0" * 64}}}, [""]),
    ],
)
def test_a_wrong_answer_names_its_values_and_stores_nothing(
    values, names, proposer, operator
):
    run, gate = asking(proposer, operator)

    with pytest.raises(AnswerInvalid) as refused:
        answered(gate, operator, values)

    assert [one["name"] for one in refused.value.details["problems"]] == names
    assert not Decision.objects.filter(gate=gate).exists()
    assert states(run)["ask"] == "gated"


def test_the_same_answer_twice_is_one_and_another_is_refused(proposer, operator, admin):
    _, gate = asking(proposer, operator)
    answered(gate, operator)
    again = answered(gate, operator)

    assert again.status == "approved"
    with pytest.raises(AlreadyAnswered):
        answered(gate, operator, {"amount": 8})
    with pytest.raises(NotInGroup):
        answered(gate, admin)
    assert Decision.objects.filter(gate=gate).count() == 1


def test_one_answer_of_any_group_is_enough(proposer, operator, admin, worker):
    text = plan(asks(ask={"groups": ["admin", "operator"]}))
    run, gate = asking(proposer, operator, text)
    answered(gate, operator)
    run = driven(run, worker)

    assert run.state == "succeeded"
    with pytest.raises(GateAlreadySettled):
        answered(gate, admin)


def test_only_the_named_groups_may_answer(proposer, operator, admin):
    _, gate = asking(proposer, operator, plan(asks(ask={"groups": ["admin"]})))

    with pytest.raises(NotInGroup):
        answered(gate, operator)
    answered(gate, admin)


def test_neither_the_proposer_nor_an_agent_answers(operator, admin, proposer):
    run = approved(TEXT, admin, operator)
    gate = open_gate(run, "ask")
    bot = Actor(ActorKind.AGENT, "1", "bot", operator.actor().key)

    with pytest.raises(OwnProposal):
        answered(gate, admin)
    with pytest.raises(AgentsCannotDecide):
        answered(gate, bot)
    assert states(run)["ask"] == "gated"


def test_an_answer_to_another_form_is_refused(proposer, operator):
    _, gate = asking(proposer, operator)

    with pytest.raises(StaleDigest):
        answered(gate, operator, digest="0" * 64)


def test_an_answer_after_the_run_was_cancelled_is_refused(proposer, operator):
    run, gate = asking(proposer, operator)
    control.cancel(run_id=run.id, by=operator.actor(), at=clock.now())

    with pytest.raises(GateSuperseded):
        answered(gate, operator)
    assert states(run)["ask"] == "cancelled"


def test_no_answer_in_time_fails_the_step_and_resuming_asks_again(
    proposer, operator, worker
):
    run, gate = asking(proposer, operator)
    late = clock.now() + timedelta(days=2, minutes=1)
    with pytest.raises(GateExpired):
        answered(gate, operator, at=late)
    sweep.sweep(at=late)
    run.refresh_from_db()
    failed = run.steps.get(key="ask")
    with pytest.raises(GateExpired):
        answered(gate, operator)
    control.resume(run_id=run.id, by=operator.actor(), at=clock.now())
    second = open_gate(run, "ask")
    answered(second, operator)

    assert (run.state, failed.state) == ("paused", "failed")
    assert failed.error["code"] == "input.expired"
    assert second.pk != gate.pk
    assert driven(run, worker).state == "succeeded"


def test_a_form_is_answered_and_an_approval_is_not(proposer, operator):
    run, gate = asking(proposer, operator)
    with pytest.raises(ValuesRequired):
        decided(gate, operator)
    other = proposed(plan(step("a"), id="other"), proposer)
    with pytest.raises(NotAnInput):
        answered(open_gate(other), operator)

    assert Gate.objects.get(pk=gate.pk).status == "requested"
    assert states(run)["ask"] == "gated"


def test_a_rejected_form_ends_the_run(proposer, operator):
    run, gate = asking(proposer, operator)
    decided(gate, operator, approve=False)
    run.refresh_from_db()

    assert (run.state, states(run)["ask"]) == ("rejected", "rejected")


def test_a_question_uses_no_slot(proposer, operator, worker):
    text = plan(asks(), step("work"), step("more"), parallel={"max": 2})
    run, _ = asking(proposer, operator, text)
    run = driven(run, worker)

    assert states(run) == {"ask": "gated", "work": "succeeded", "more": "succeeded"}


def test_a_paused_run_takes_an_answer(proposer, operator, worker):
    run, gate = asking(proposer, operator)
    control.pause(run_id=run.id, by=operator.actor(), at=clock.now())
    answered(gate, operator)
    before = states(run)
    control.resume(run_id=run.id, by=operator.actor(), at=clock.now())

    assert before == {"ask": "succeeded", "book": "pending"}
    assert driven(run, worker).state == "succeeded"


def test_a_dry_run_uses_the_examples_of_the_form(proposer):
    report = proposed(TEXT, proposer).dry_run.report
    by_step = {one["step"]: one for one in report["steps"]}

    assert by_step["ask"]["verdict"] == "input"
    assert "examples" in by_step["ask"]["notes"][0]
    assert by_step["book"]["verdict"] in {"covered", "not_dry_run"}


def test_a_dry_run_without_examples_says_so(proposer):
    form = {
        "type": "object",
        "properties": {"n": {"type": "integer"}},
        "required": ["n"],
    }
    report = proposed(plan(asks(form=form)), proposer).dry_run.report

    assert "no examples" in report["steps"][0]["notes"][0]
