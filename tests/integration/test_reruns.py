"""Reruns: which steps run again, and which take the result of the run before."""

from uuid import uuid4

import pytest
from django.db import transaction

from audit import selectors as audit
from audit.models import Event
from execfabric.identity.errors import RightMissing
from execfabric.lib import canonical
from orchestration.plans.errors import PlanInvalid
from orchestration.runs.domain.results import result_digest
from orchestration.runs.errors import KeyReused, RunNotEnded, RunUnknown, StepUnknown
from orchestration.runs.models import Run, StepRun
from orchestration.runs.pages import comparison
from tests.builders import (
    approved,
    chain,
    decided,
    driven,
    open_gate,
    outputs,
    plan,
    states,
    step,
)
from tests.console_builders import signed_in, words
from tests.database import at_once
from tests.integration.rerun_builders import (
    effects,
    finished,
    marks,
    rerun,
    rerun_of,
    reused,
    run_again,
    verified,
    with_approval,
)
from tests.integration.subplan_builders import inner, save, uses
from tests.integration.test_newer_release import published

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]


@pytest.mark.usefixtures("path")
def test_the_steps_before_the_chosen_one_are_not_run_again(
    proposer, operator, worker, witness
) -> None:
    run = finished(effects(), proposer, operator, worker, word="old")
    assert marks(witness) == ["first", "third"]

    again = run_again(run, proposer, operator, worker, "third")

    assert (again.state, again.rerun_of_id, again.rerun_from) == (
        "succeeded",
        run.pk,
        "third",
    )
    assert again.revision_id == run.revision_id
    assert reused(again) == {"first": True, "second": True, "third": False}
    assert marks(witness) == ["first", "third", "third"]
    assert outputs(again) == outputs(run)
    source, step_run = run.steps.get(key="first"), again.steps.get(key="first")
    assert step_run.reused_from_id == source.pk
    assert step_run.files == source.files
    assert not step_run.attempts.exists()
    event = Event.objects.get(stream=again.stream, kind="step.reused", step="first")
    payload = audit.envelope(event)["payload"]
    assert payload["reused_from"] == str(source.pk)
    assert payload["reuse_digest"] == source.reuse_digest
    verified(again)


def test_without_a_first_step_everything_runs(
    proposer, operator, worker, witness
) -> None:
    run = finished(effects(), proposer, operator, worker, word="old")

    again = run_again(run, proposer, operator, worker)

    assert not any(reused(again).values())
    assert marks(witness) == ["first", "third"] * 2


def test_a_changed_input_runs_what_depends_on_it(
    proposer, operator, worker, witness
) -> None:
    run = finished(effects(), proposer, operator, worker, word="old")

    again = run_again(run, proposer, operator, worker, "third", changes={"word": "new"})

    assert reused(again) == {"first": True, "second": False, "third": False}
    assert outputs(again)["second"] == {"word": "new"}
    assert again.inputs == {"word": "new"}
    assert marks(witness) == ["first", "third", "third"]


def test_a_failed_step_is_never_reused(proposer, operator, worker, witness) -> None:
    text = effects(
        step("bad", "misbehave", after="third", params={"how": "fail"}),
        step("beside", after="third"),
        onFailure="continue",
    )
    run = finished(text, proposer, operator, worker, word="old")
    bad = run.steps.get(key="bad")
    # Only its state tells it from a step whose result is intact.
    digest = result_digest({}, {})
    StepRun.objects.filter(pk=bad.pk).update(output={}, output_digest=digest)
    assert (bad.state, bool(bad.reuse_digest)) == ("failed", True)

    again = run_again(run, proposer, operator, worker, "beside")

    assert reused(again) == {
        "first": True,
        "second": True,
        "third": True,
        "bad": False,
        "beside": False,
    }
    assert states(again)["bad"] == "failed"
    assert marks(witness) == ["first", "third"]


def test_a_rerun_of_a_rerun_names_the_step_that_ran(
    proposer, operator, worker, witness
) -> None:
    run = finished(effects(), proposer, operator, worker, word="old")
    once = run_again(run, proposer, operator, worker, "third")

    twice = run_again(once, proposer, operator, worker, "third")

    assert twice.rerun_of_id == once.pk
    assert twice.steps.get(key="first").reused_from_id == run.steps.get(key="first").pk
    assert marks(witness) == ["first", "third", "third", "third"]


def test_another_skill_version_is_run(proposer, operator, worker, witness) -> None:
    run = finished(effects(), proposer, operator, worker, word="old")
    with transaction.atomic():
        published("lab")

    again = run_again(run, proposer, operator, worker, "third")

    assert not any(reused(again).values())


def test_only_finished_visible_runs_are_run_again(
    proposer, operator, worker, second, stranger, auditor
) -> None:
    open_run = approved(chain(1), proposer, operator)
    with pytest.raises(RunNotEnded):
        rerun(open_run, proposer)
    run = driven(open_run, worker)
    with pytest.raises(RunUnknown):
        rerun(run, second)
    with pytest.raises(RightMissing):
        rerun(run, auditor)
    with pytest.raises(StepUnknown):
        rerun(run, proposer, "missing")
    with pytest.raises(PlanInvalid):
        rerun(run, proposer, inputs={"unknown": 1})
    assert Run.objects.count() == 1


def test_a_repeated_request_returns_the_same_rerun(proposer, operator, worker) -> None:
    run = finished(chain(2), proposer, operator, worker)
    key = str(uuid4())

    first = rerun(run, proposer, "s1", idempotency_key=key)
    same = rerun(run, proposer, "s1", idempotency_key=key)

    assert first.pk == same.pk
    with pytest.raises(KeyReused):
        rerun(run, proposer, "s0", idempotency_key=key)


def test_items_take_the_results_of_the_same_items(
    proposer, operator, worker, witness
) -> None:
    text = plan(
        step(
            "each",
            "witness",
            forEach="$inputs.marks",
            params={"mark": "$item"},
        ),
        step("last", after="each", params={"all": "$each.output"}),
        inputs={"properties": {"marks": {"type": "array"}}},
    )
    run = finished(text, proposer, operator, worker, marks=["a", "b", "b"])

    again = run_again(
        run,
        proposer,
        operator,
        worker,
        "last",
        changes={"marks": ["b", "c", "b", "b"]},
    )

    assert again.state == "succeeded", again.reason
    items = again.steps.filter(item__isnull=False).order_by("item")
    assert [item.reused_from_id is not None for item in items] == [
        True,
        False,
        True,
        False,
    ]
    assert marks(witness) == ["a", "b", "b", "c", "b"]
    verified(again)


def test_steps_of_a_sub_plan_take_the_results_of_theirs(
    proposer, operator, worker
) -> None:
    save(inner(), proposer)
    text = plan(
        step("first", params={"value": "hello"}),
        uses(word="$first.output.value", dependsOn=["first"]),
        step("last", after="sub", params={"value": "$sub.output.said"}),
    )
    run = finished(text, proposer, operator, worker)

    later = run_again(run, proposer, operator, worker, "last")
    inside = run_again(run, proposer, operator, worker, "sub/again")

    def places(made: Run) -> dict[str, bool]:
        rows = made.steps.select_related("parent")
        return {
            f"{row.parent.key}/{row.key}" if row.parent else row.key: bool(
                row.reused_from_id
            )
            for row in rows
        }

    assert places(later) == {
        "first": True,
        "sub": False,
        "sub/make": True,
        "sub/again": True,
        "last": False,
    }
    assert places(inside) == places(later) | {"sub/again": False}
    assert outputs(later) == outputs(run)


def test_a_fallback_takes_the_result_of_the_fallback(
    proposer, operator, worker, witness
) -> None:
    fallback = {"skill": "lab", "action": "witness", "params": {"mark": "instead"}}
    text = plan(
        step("first", "misbehave", params={"how": "fail"}, fallback=fallback),
        step("last", after="first"),
    )
    run = finished(text, proposer, operator, worker)

    again = run_again(run, proposer, operator, worker, "last")

    assert again.state == "succeeded", again.reason
    assert reused(again) == {"first": False, "last": False}
    assert again.steps.get(key="first.fallback").reused_from_id is not None
    assert marks(witness) == ["instead"]


def test_two_reruns_at_once_reuse_the_same_results(
    proposer, operator, worker, witness
) -> None:
    run = finished(effects(), proposer, operator, worker, word="old")

    made = at_once(*[lambda: rerun_of(run, proposer, "third")] * 2)

    assert {each.rerun_of_id for each in made} == {run.pk}
    for each in made:
        again = driven(with_approval(each, operator), worker)
        assert reused(again) == {"first": True, "second": True, "third": False}
    assert marks(witness) == ["first", "third", "third", "third"]


@pytest.mark.promise("S1.37")
def test_a_run_that_has_ended_goes_on_from_a_chosen_step(
    proposer, operator, worker, witness
) -> None:
    text = effects(
        step("fourth", "misbehave", after="third", params={"how": "$inputs.word"}),
        step("fifth", "witness", after="fourth", params={"mark": "fifth"}),
        onFailure="abort",
    )
    run = finished(text, proposer, operator, worker, word="fail")
    assert (run.state, marks(witness)) == ("failed", ["first", "third"])

    again = run_again(run, proposer, operator, worker, "fourth", changes={"word": "ok"})

    # The second step has another word, but no effect.
    assert again.state == "succeeded"
    assert marks(witness) == ["first", "third", "fifth"]
    from_third = run_again(again, proposer, operator, worker, "third")
    assert from_third.state == "succeeded"
    assert marks(witness) == ["first", "third", "fifth", "third", "fifth"]


def test_what_is_run_again_belongs_to_what_is_approved(
    proposer, operator, worker, witness
) -> None:
    run = finished(effects(), proposer, operator, worker, word="old")
    again = rerun(run, proposer, "third", changes={"word": "new"})
    gate = open_gate(again)
    approved_content = canonical.loads(bytes(gate.subject))
    assert approved_content["rerun"] == {"of": str(run.pk), "from": "third"}
    page = words(signed_in(operator).get(f"/gates/{gate.pk}"))
    assert f"Rerun of run {run.pk} from step third" in page
    Run.objects.filter(pk=again.pk).update(rerun_from="")

    decided(gate, operator)
    driven(again, worker)

    assert again.state == "awaiting_approval"
    assert marks(witness) == ["first", "third"]


@pytest.mark.parametrize("how", ["fail", "early"])
def test_the_comparison_shows_another_error(proposer, operator, worker, how) -> None:
    text = plan(step("only", "misbehave", params={"how": "fail"}), onFailure="abort")
    run = finished(text, proposer, operator, worker)
    again = run_again(run, proposer, operator, worker)
    StepRun.objects.filter(run=again).update(
        error={"code": "lab.other", "message": how, "ran": True}
    )
    StepRun.objects.filter(run=run).update(
        error={"code": "lab.other", "message": "fail", "ran": True}
    )

    compared = comparison.compare(proposer.actor(), run.pk, again.pk)

    changes = [change for each in compared.differing for change in each.changes]
    assert [(each.field, each.before, each.after) for each in changes] == (
        [("error", "fail", how)] if how != "fail" else []
    )
