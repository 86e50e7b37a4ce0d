"""Steps that wait for a time, on the real engine."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from execfabric.lib import canonical, clock
from orchestration.plans.errors import PlanInvalid
from orchestration.runs.control import control
from orchestration.runs.keeper import sweep
from orchestration.runs.models import StepRun
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

LATER = timedelta(minutes=11)
PAUSE = {"id": "pause", "kind": "wait", "for": "10m"}


def waits(key: str, **fields):
    after = fields.pop("after", None)
    return {"id": key, "kind": "wait", **({"dependsOn": [after]} if after else {})} | (
        fields
    )


def swept(run, worker, later=LATER):
    sweep.sweep(at=clock.now() + later)
    return driven(run, worker)


def test_a_wait_is_a_row_until_the_keeper_ends_it(proposer, operator, worker):
    text = plan(
        step("first"),
        waits("pause", after="first", **{"for": "10m"}),
        step("then", after="pause", params={"since": "$pause.output.until"}),
    )
    run = driven(approved(text, proposer, operator), worker)
    waiting = run.steps.get(key="pause")
    run = swept(run, worker, timedelta(minutes=9))
    before = states(run)
    run = swept(run, worker)
    done = run.steps.get(key="pause")

    assert (waiting.state, waiting.worker, waiting.spec_id) == ("waiting", "", None)
    assert waiting.not_before == waiting.started_at + timedelta(minutes=10)
    assert before == {"first": "succeeded", "pause": "waiting", "then": "pending"}
    assert run.state == "succeeded"
    assert (done.not_before, done.attempts.count()) == (None, 0)
    assert done.output == {"until": clock.stamp(waiting.not_before)}
    assert outputs(run)["then"] == {"since": clock.stamp(waiting.not_before)}
    checked = streams.verify_stream(run.stream)
    assert (checked.broken, checked.differences) == (None, [])


def test_two_keepers_end_a_wait_once(proposer, operator, worker):
    run = approved(plan(PAUSE), proposer, operator)
    step_run = run.steps.get()
    sweep.sweep(at=clock.now() + LATER)
    with sweep.locked_change(run.id, by=sweep.BY, at=clock.now() + LATER) as change:
        again = sweep._released(change, step_run.id)

    run.refresh_from_db()
    assert again is False
    assert (run.state, states(run)) == ("succeeded", {"pause": "succeeded"})


@pytest.mark.parametrize(
    ("parallel", "state"), [({"max": 2}, "succeeded"), (False, "pending")]
)
def test_a_wait_uses_no_slot_but_keeps_the_order(
    parallel, state, proposer, operator, worker
):
    text = plan(
        waits("w1", **{"for": "10m"}),
        waits("w2", **{"for": "10m"}),
        step("work"),
        parallel=parallel,
    )
    run = driven(approved(text, proposer, operator), worker)

    assert states(run)["w1"] == "waiting"
    assert states(run)["work"] == state


def test_a_moment_that_has_passed_does_not_wait(proposer, operator, worker):
    text = plan(
        waits("gone", until="2020-01-01T06:00:00+01:00"), step("then", after="gone")
    )
    run = driven(approved(text, proposer, operator), worker)

    assert states(run) == {"gone": "succeeded", "then": "succeeded"}
    assert outputs(run)["gone"] == {"until": "2020-01-01T05:00:00.000000Z"}


def test_references_say_how_long_a_step_waits(proposer, operator, worker):
    text = plan(
        step("ask", params={"pause": "$inputs.pause", "at": 5}),
        waits("for-input", **{"for": "$inputs.pause"}),
        waits("for-output", after="ask", **{"for": "$ask.output.pause"}),
        waits("until-input", until="$inputs.at"),
        waits("wrong", after="ask", until="$ask.output.at"),
        waits("far", until="$inputs.far"),
        inputs={
            "properties": {key: {"type": "string"} for key in ["pause", "at", "far"]},
            "required": ["pause", "at", "far"],
        },
        parallel=True,
        onFailure="continue",
    )
    at, far = "2090-01-01T06:00:00+01:00", "2190-01-01T06:00:00Z"
    inputs = {"pause": "10m", "at": at, "far": far}
    with pytest.raises(PlanInvalid) as refused:
        proposed(text, proposer, inputs)
    problems = refused.value.details["problems"]
    found = [one["message"] for one in problems if one["severity"] == "error"]
    assert found == [
        f"{at} is more than 366 days away.",
        f"{far} is more than 366 days away.",
    ]

    soon = clock.now() + timedelta(days=1)
    inputs |= {"at": clock.stamp(soon), "far": clock.stamp(soon)}
    run = proposed(text, proposer, inputs)
    shown = canonical.loads(bytes(open_gate(run).subject))["steps"]
    sentences = {one["id"]: one.get("wait") for one in shown}
    assert sentences["for-input"] == "Waits 10m ($inputs.pause)."
    assert sentences["for-output"] == "Waits as long as $ask.output.pause says."
    assert sentences["until-input"] == f"Waits until {clock.stamp(soon)} ($inputs.at)."
    decided(open_gate(run), operator)
    run = driven(run, worker)

    ends = {row.key: row.not_before for row in run.steps.filter(state="waiting")}
    since = {row.key: row.started_at for row in run.steps.all()}
    assert ends == {
        "for-input": since["for-input"] + timedelta(minutes=10),
        "for-output": since["for-output"] + timedelta(minutes=10),
        "until-input": soon,
        "far": soon,
    }
    error = run.steps.get(key="wrong").error
    assert (error["code"], error["ran"]) == ("wait.invalid", False)
    assert error["message"].startswith("Cannot wait: until is $ask.output.at, and")
    run = swept(run, worker, timedelta(days=2))
    assert run.state == "partially_succeeded"
    assert streams.verify_stream(run.stream).differences == []


def test_a_false_condition_skips_the_wait(proposer, operator, worker):
    text = plan(waits("w", when="false", **{"for": "10m"}), step("then", after="w"))
    run = driven(approved(text, proposer, operator), worker)

    assert states(run)["w"] == "skipped_by_condition"


def test_a_wait_of_a_paused_run_ends_after_it_is_resumed(proposer, operator, worker):
    text = plan(waits("w", **{"for": "10m"}), step("then", after="w"))
    run = approved(text, proposer, operator)
    control.pause(run_id=run.id, by=operator.actor(), at=clock.now())
    run = swept(run, worker)
    paused = (run.state, states(run)["w"])
    control.resume(run_id=run.id, by=operator.actor(), at=clock.now())
    run = swept(run, worker)

    assert paused == ("paused", "waiting")
    assert run.state == "succeeded"


def test_cancelling_the_run_cancels_the_wait(proposer, operator):
    run = approved(plan(PAUSE, step("then", after="pause")), proposer, operator)
    control.cancel(run_id=run.id, by=operator.actor(), at=clock.now())
    sweep.sweep(at=clock.now() + LATER)
    run.refresh_from_db()

    assert run.state == "cancelled"
    assert states(run) == {"pause": "cancelled", "then": "cancelled"}
    assert run.steps.get(key="pause").not_before is None


def test_a_failure_elsewhere_aborts_the_wait(proposer, operator, worker):
    text = plan(
        waits("w", **{"for": "10m"}),
        step("bad", "misbehave", params={"how": "raise"}),
        parallel=True,
        onFailure="abort",
    )
    run = driven(approved(text, proposer, operator), worker)

    assert (run.state, states(run)["w"]) == ("failed", "cancelled")


def test_an_approval_after_a_wait_is_asked_for_then(proposer, operator, worker):
    text = plan(
        waits("w", **{"for": "10m"}),
        {"id": "ok", "kind": "approval", "dependsOn": ["w"]},
    )
    run = approved(text, proposer, operator)
    run = swept(run, worker)
    decided(open_gate(run, "ok"), operator)
    run.refresh_from_db()

    assert run.state == "succeeded"


@pytest.mark.parametrize(
    "columns",
    [
        {"not_before": None},
        {"state": "pending"},
        {"kind": "skill"},
    ],
)
def test_only_a_waiting_step_has_the_end_of_a_wait(columns, proposer, operator):
    run = approved(plan(PAUSE), proposer, operator)

    with pytest.raises(IntegrityError), transaction.atomic():
        StepRun.objects.filter(run=run).update(**columns)
