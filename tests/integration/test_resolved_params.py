"""Resolved parameters satisfy the input schema of their action, or nothing runs."""

import pytest

from approvals.models import Gate
from execfabric.lib import clock
from orchestration.plans.errors import PlanInvalid
from orchestration.runs.engine import specs
from orchestration.runs.engine.attempts import BY
from orchestration.runs.engine.locking import locked_change
from orchestration.runs.models import Attempt, ExecSpec, StepRun
from tests.builders import (
    approved,
    claimed,
    decided,
    driven,
    open_gate,
    plan,
    proposed,
    states,
    step,
)

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry", "path"),
]

HIDDEN = "hunter2"


@pytest.mark.parametrize(
    ("value", "params", "sentence"),
    [
        pytest.param(
            7,
            {"url": "$given.output.value"},
            "url must be text, not an integer",
            id="type",
        ),
        pytest.param(
            HIDDEN,
            {"url": "$given.output.value"},
            "url must match ^https://",
            id="pattern",
        ),
        pytest.param(
            0,
            {"url": "https://example.com", "count": "$given.output.value"},
            "count must be at least 1",
            id="range",
        ),
        pytest.param(
            HIDDEN,
            {"url": "https://example.com", "day": "$given.output.value"},
            "day must be a valid date",
            id="format",
        ),
    ],
)
def test_params_that_break_the_input_schema_are_refused_at_release(
    value, params, sentence, proposer, operator, worker
):
    run = approved(
        plan(
            step("given", params={"value": value}),
            step("strict", "strict", after="given", params=params),
        ),
        proposer,
        operator,
    )

    run = driven(run, worker)

    failed = run.steps.get(key="strict")
    assert failed.state == "failed"
    assert failed.error["code"] == "step.params_invalid"
    assert failed.error["ran"] is False
    assert f"Cannot run lab strict: {sentence}." in failed.error["message"]
    assert HIDDEN not in failed.error["message"]
    assert failed.spec_id is None
    assert not Attempt.objects.filter(step_run=failed).exists()
    assert run.state == "paused"


def test_no_gate_opens_on_params_that_break_the_input_schema(
    proposer, operator, worker
):
    run = approved(
        plan(
            step("given", params={"value": 7}),
            step(
                "strict",
                "strict-risky",
                after="given",
                params={"url": "$given.output.value"},
            ),
        ),
        proposer,
        operator,
    )

    run = driven(run, worker)

    assert states(run)["strict"] == "failed"
    assert not Gate.objects.filter(context_id=run.id, step="strict").exists()


def test_params_are_checked_again_at_dispatch(proposer, operator, worker):
    text = plan(
        step("given", params={"value": "https://example.com"}),
        step(
            "strict",
            "strict-risky",
            after="given",
            params={"url": "$given.output.value"},
        ),
    )
    run = driven(approved(text, proposer, operator), worker)
    gate = open_gate(run, "strict")
    # As a release that checked neither outputs nor params could have left it.
    StepRun.objects.filter(run=run, key="given").update(
        output={"value": 7}, output_digest=""
    )
    decided(gate, operator)

    lease = claimed(run, "strict")

    failed = run.steps.get(key="strict")
    gate.refresh_from_db()
    assert lease is None
    assert failed.error["code"] == "step.params_invalid"
    assert failed.error["ran"] is False
    assert not failed.attempts.exclude(intent_at=None).exists()
    assert gate.status == "superseded"


def test_the_reuse_digest_covers_the_action_and_not_the_run(proposer, operator):
    def digests(**params):
        text = plan(
            step("made", params={"n": 1}), step("used", after="made", params=params)
        )
        run = approved(text, proposer, operator)
        with locked_change(run.id, by=BY, at=clock.now()) as change:
            return specs.build(
                change, change.loaded.named("made", None)
            ).reuse_digest, run

    (first, run), (again, other) = digests(a=1), digests(b=2)
    with locked_change(run.id, by=BY, at=clock.now()) as change:
        spec = specs.build(change, change.loaded.named("made", None))

    assert run.id != other.id
    assert first == again == specs.reuse_digest(spec.value)
    for name, value in (
        ("params", {"n": 2}),
        ("action", "risky"),
        ("config", {}),
        ("skill", {"digest": "0" * 64}),
        ("code", "0" * 64),
    ):
        assert specs.reuse_digest({**spec.value, name: value}) != first


def test_an_approval_step_takes_any_context(proposer, operator, worker):
    asking = {"id": "ask", "kind": "approval", "params": {"any": [1]}}

    run = driven(approved(plan(asking), proposer, operator), worker)

    assert states(run) == {"ask": "gated"}
    assert ExecSpec.objects.filter(pk=run.steps.get().spec_id).exists()


@pytest.mark.promise("S1.20")
def test_the_inputs_of_a_plan_and_of_each_step_are_validated(
    proposer, operator, worker
):
    needs = {"properties": {"day": {"type": "string"}}, "required": ["day"]}
    literal = plan(step("strict", "strict", params={"url": 7}))
    whole = plan(
        step("given", params={"value": 7}),
        step("strict", "strict", after="given", params={"url": "$given.output.value"}),
        inputs=needs,
    )

    for text, inputs, code in (
        (whole, {}, "plan.input_invalid"),
        (whole, {"day": 7}, "plan.input_invalid"),
        (literal, {}, "plan.param_invalid"),
    ):
        with pytest.raises(PlanInvalid) as refused:
            proposed(text, proposer, inputs)
        assert [one["code"] for one in refused.value.details["problems"]] == [code]
    run = driven(approved(whole, proposer, operator, day="Monday"), worker)

    assert run.steps.get(key="strict").error["code"] == "step.params_invalid"
    assert not Attempt.objects.filter(step_run__key="strict").exists()
