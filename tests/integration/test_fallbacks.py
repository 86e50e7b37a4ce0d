"""Fallbacks of steps, on the real engine."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction

from execfabric.lib import clock
from execfabric.lib.ids import span_id
from orchestration.runs.control import control, recovery
from orchestration.runs.domain.results import Failure, Finished, Lost
from orchestration.runs.engine import attempts
from orchestration.runs.keeper import sweep
from orchestration.runs.models import DryRun, StepRun
from tests.builders import (
    CACHE,
    approved,
    claimed,
    completed,
    driven,
    outputs,
    plan,
    proposed,
    states,
    step,
)
from tests.integration.fallback_builders import BAD, echo, ended, with_fallback
from tests.record import is_whole, kinds, payloads

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry", "path"),
]
BUSY = Failure("lab.busy", "The target is busy.", again=True)


def back_to_work(run) -> None:
    """End the wait of steps that are retried later."""
    swept = clock.now() + timedelta(minutes=5)
    sweep.sweep(at=swept)


def claimed_item(run, item: int):
    return attempts.claim(
        step_run_id=run.steps.get(key="each", item=item).id,
        worker="test-worker",
        session=span_id(),
        at=clock.now(),
        cache=CACHE,
    )


@pytest.mark.promise("S3.50")
def test_a_failed_step_has_the_output_of_its_fallback(proposer, operator, worker):
    text = plan(
        with_fallback(),
        step("after", after="q", params={"by": "$q.output.by", "all": "$q.output"}),
    )
    run = driven(approved(text, proposer, operator), worker)

    assert run.state == "succeeded"
    assert states(run) == dict.fromkeys(["q", "q.fallback", "after"], "succeeded")
    assert outputs(run)["q"] == outputs(run)["q.fallback"] == {"by": "fallback"}
    assert outputs(run)["after"] == {"by": "fallback", "all": {"by": "fallback"}}
    own, other = run.steps.get(key="q"), run.steps.get(key="q.fallback")
    assert (own.used_fallback, other.used_fallback) == (True, False)
    assert own.error is None
    assert other.parent_id == own.id
    assert other.attempts.count() == own.attempts.count() == 1
    [fell] = payloads(run, "step.fell_back")
    assert fell["error"]["code"] == "lab.refused"
    assert fell["fallback"] == "q.fallback"
    assert [
        one["used_fallback"]
        for one in payloads(run, "step.succeeded")
        if "fallback" in one
    ] == [True]
    assert kinds(run, "q")[-2:] == ["step.fell_back", "step.succeeded"]
    assert is_whole(run)


def test_its_attempts_come_first_and_the_fallback_has_its_own(proposer, operator):
    text = plan(
        with_fallback(
            retry={"attempts": 2, "initial": "1ms"},
            fallback={"skill": "lab", "action": "misbehave-again"},
        )
    )
    run = approved(text, proposer, operator)

    completed(claimed(run, "q"), BUSY)
    assert states(run) == {"q": "backoff"}
    back_to_work(run)
    following = completed(claimed(run, "q"), BUSY)
    assert states(run) == {"q": "falling_back", "q.fallback": "running"}
    assert following.key == "q.fallback"
    completed(following, BUSY)
    assert states(run)["q.fallback"] == "backoff"
    back_to_work(run)
    completed(claimed(run, "q.fallback"), Finished({"ok": True}, {}))

    assert ended(run).state == "succeeded"
    tries = {key: run.steps.get(key=key).tries for key in states(run)}
    assert tries == {"q": 2, "q.fallback": 2}


@pytest.mark.parametrize(
    ("action", "result"),
    [
        ("once", Lost("lab.silent", "The target did not answer.")),
        ("misbehave-again", Failure("lab.silent", "It did not answer.", ran=None)),
    ],
)
def test_nothing_falls_back_while_an_outcome_is_unknown(
    action, result, proposer, operator, second_operator, monkeypatch
):
    monkeypatch.setattr(recovery, "require_dead", lambda *_: None)
    text = plan(with_fallback(action=action, retry={"attempts": 1}))
    run = approved(text, proposer, operator)

    lease = claimed(run, "q")
    completed(lease, result)
    completed(lease, result)  # its worker repeats it after a lost connection
    assert not payloads(run, "attempt.late_result")
    run.refresh_from_db()
    assert (run.state, states(run)) == ("paused", {"q": "indeterminate"})

    recovery.resolve(
        step_run_id=run.steps.get().id,
        happened=False,
        evidence="The target has no such line.",
        by=second_operator.actor(),
        at=clock.now(),
    )
    assert states(run) == {"q": "falling_back", "q.fallback": "pending"}
    control.resume(run_id=run.id, by=operator.actor(), at=clock.now())
    assert states(run) == {"q": "falling_back", "q.fallback": "ready"}


@pytest.mark.parametrize("is_lost", [True, False])
def test_no_fallback_follows_an_earlier_attempt_that_is_unknown(
    is_lost, proposer, operator
):
    text = plan(with_fallback(action="misbehave-again", retry={"attempts": 2}))
    run = approved(text, proposer, operator)
    lease = claimed(run, "q")
    if is_lost:
        run.steps.update(lease_until=clock.now() - timedelta(minutes=1))
    else:
        completed(lease, Failure("lab.silent", "No answer.", again=True, ran=None))
    back_to_work(run)

    completed(claimed(run, "q"), BAD)

    assert (ended(run).state, states(run)) == ("paused", {"q": "indeterminate"})
    assert is_whole(run)


def test_an_unknown_outcome_of_the_fallback_pauses_the_run(
    proposer, operator, second_operator
):
    text = plan(
        with_fallback(fallback={"skill": "lab", "action": "once"}), step("z", after="q")
    )
    run = approved(text, proposer, operator)

    completed(completed(claimed(run, "q"), BAD), Lost("lab.silent", "No answer."))
    run.refresh_from_db()
    assert run.state == "paused"
    assert states(run)["q"] == "falling_back"

    recovery.resolve(
        step_run_id=run.steps.get(key="q.fallback").id,
        happened=True,
        evidence="The target has the line.",
        output={"ok": True},
        by=second_operator.actor(),
        at=clock.now(),
    )
    assert states(run)["q"] == "succeeded"
    assert outputs(run)["q"] == {"ok": True}
    assert is_whole(run)


@pytest.mark.parametrize(
    ("on_failure", "end", "after"),
    [
        ("pause", "paused", "pending"),
        ("abort", "failed", "skipped"),
        ("continue", "failed", "skipped"),
    ],
)
def test_if_both_fail_the_plan_says_what_follows(
    on_failure, end, after, proposer, operator
):
    text = plan(with_fallback(), step("z", after="q"), onFailure=on_failure)
    run = approved(text, proposer, operator)

    completed(completed(claimed(run, "q"), BAD), BUSY)

    run = ended(run)
    assert run.state == end
    assert states(run) == {"q": "failed", "q.fallback": "failed", "z": after}
    error = run.steps.get(key="q").error
    assert error["code"] == "step.fallback_failed"
    assert error["message"] == (
        "The target said no. Its fallback failed too: The target is busy."
    )
    assert is_whole(run)


def test_a_retry_begins_with_the_step_itself(proposer, operator):
    run = approved(plan(with_fallback()), proposer, operator)
    completed(completed(claimed(run, "q"), BAD), BAD)

    control.resume(run_id=run.id, by=operator.actor(), at=clock.now())
    assert states(run) == {"q": "ready", "q.fallback": "failed"}
    lease = completed(claimed(run, "q"), BAD)
    assert lease.key == "q.fallback"
    completed(lease, Finished({"by": "fallback"}, {}))

    assert ended(run).state == "succeeded"
    assert {one.key: one.generation for one in run.steps.all()} == {
        "q": 2,
        "q.fallback": 2,
    }
    assert is_whole(run)


def test_a_fallback_comes_before_independent_steps(proposer, operator):
    run = approved(plan(with_fallback(), step("z")), proposer, operator)

    lease = completed(claimed(run, "q"), BAD)

    assert lease.key == "q.fallback"
    assert states(run)["z"] == "pending"


def test_no_fallback_runs_for_a_condition_without_an_answer(proposer, operator):
    text = plan(
        step("a"),
        with_fallback(after="a", when="steps.a.output.x > 1"),
    )
    run = approved(text, proposer, operator)

    completed(claimed(run, "a"), Finished({}, {}))

    assert states(run) == {"a": "succeeded", "q": "failed"}
    assert run.steps.get(key="q").error["code"] == "step.condition_failed"


def test_a_step_whose_params_do_not_resolve_falls_back(proposer, operator):
    text = plan(
        step("a"),
        with_fallback(after="a", action="strict", params={"url": "$a.output.url"}),
    )
    run = approved(text, proposer, operator)

    lease = completed(claimed(run, "a"), Finished({"url": "ftp://x"}, {}))

    assert lease.key == "q.fallback"
    assert run.steps.get(key="q").attempts.count() == 0


def test_its_files_are_those_of_the_step(proposer, operator, worker):
    text = plan(
        with_fallback(
            action="effect",
            params={"ticket": ""},
            fallback={"skill": "lab", "action": "write", "params": {"text": "hello"}},
        ),
        step("z", "read", after="q", params={"file": "$q.files.note"}),
    )
    run = driven(approved(text, proposer, operator), worker)

    assert run.state == "succeeded"
    assert outputs(run)["z"]["text"] == "hello"
    assert run.steps.get(key="q").artifact_uses.count() == 1
    assert is_whole(run)


def test_each_item_of_a_list_has_its_own_fallback(proposer, operator):
    text = plan(
        with_fallback(
            "each",
            forEach=["a", "b", "c"],
            onItemError="stop",
            fallback=echo(name="$item", number="$index"),
        ),
        step("z", after="each", params={"all": "$each.output.items"}),
    )
    run = approved(text, proposer, operator)

    lease = completed(claimed_item(run, 0), Finished({"ok": True}, {}))
    lease = completed(lease, BAD)
    assert (lease.key, lease.spec["params"]) == (
        "each.fallback",
        {"name": "b", "number": 1},
    )
    lease = completed(lease, Finished(lease.spec["params"], {}))
    assert lease.spec["item"] == 2
    completed(completed(lease, BAD), BAD)

    run = ended(run)
    items = run.steps.filter(key="each", item__isnull=False).order_by("item")
    assert [(one.state, one.used_fallback) for one in items] == [
        ("succeeded", False),
        ("succeeded", True),
        ("failed", False),
    ]
    assert run.steps.get(key="each", item=None).state == "failed"
    assert run.state == "paused"
    assert is_whole(run)


def test_its_dry_run_is_that_of_its_action(proposer):
    risky = {"skill": "lab", "action": "look", "params": {"how": "would fail"}}
    run = proposed(plan(with_fallback(fallback=risky)), proposer)

    [own, other] = DryRun.objects.get(run=run).report["steps"]

    assert own["step"] == "q"
    assert (other["step"], other["action"]) == ("q.fallback", "look")
    assert other["fails"] == "The target is not there."
    assert other["notes"] == ["It runs only if step q fails for good."]


def test_a_forged_fallback_never_starts(proposer, operator):
    """A row that no failure has added is not released."""
    run = approved(plan(with_fallback(), step("z", after="q")), proposer, operator)
    own = run.steps.get(key="q")
    StepRun.objects.create(
        run=run, key="q.fallback", parent=own, position=9, effect_class="pure"
    )

    completed(claimed(run, "q"), Finished({"ok": True}, {}))

    assert states(run)["q.fallback"] == "pending"
    assert not is_whole(run)


def test_only_a_step_that_succeeded_used_its_fallback(proposer, operator):
    run = approved(plan(step("a")), proposer, operator)
    with pytest.raises(IntegrityError), transaction.atomic():
        run.steps.update(used_fallback=True)
