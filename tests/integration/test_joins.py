"""Joins that start before all their parents have finished, and what they can see."""

from pathlib import Path

import pytest

from approvals.models import Gate
from execfabric.lib import canonical
from orchestration.plans.errors import PlanInvalid
from orchestration.runs.domain.results import Finished
from orchestration.runs.worker import work
from tests.builders import (
    approved,
    claimed,
    completed,
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

ANGLES = Path(__file__).parents[1] / "unit/plans/angles.yaml"


def spec_of(run, key: str):
    return canonical.loads(bytes(run.steps.get(key=key).spec.body))


def begun(run, key: str, worker):
    """Return the run after a worker has run all ready steps, this one first."""
    work.work(step_run_id=run.steps.get(key=key).id, context=worker)
    return driven(run, worker)


def finished(lease):
    """Complete an attempt and return the one that its worker takes next."""
    return completed(lease, Finished({"n": 7, **lease.spec["params"]}, {}))


def join(key: str, action: str = "echo", **fields):
    made = {
        "params": {"won": "$first.id", "a": "$a.output?", "b": "$b.output.n?"},
        "trigger_rule": "one_success",
    }
    return step(key, action, after=["a", "b"], **(made | fields))


TWO = (step("a", params={"n": 1}), step("b", params={"n": 2}))


def test_the_flow_patterns_of_the_source_run_to_their_end(proposer, operator, worker):
    run = begun(approved(ANGLES.read_text(), proposer, operator), "research", worker)
    spec = spec_of(run, "synthesis")
    answer = outputs(run)["research"]
    waiting = states(run)["review"]
    decided(open_gate(run, "review"), operator)
    run = driven(run, worker)

    assert spec["params"] == {"prompt": answer, "severity": None}
    assert (spec["first"], spec["absent"]) == ("research", {"classify": "ready"})
    assert waiting == "gated"
    assert run.state == "succeeded"
    assert set(states(run).values()) == {"succeeded"}


@pytest.mark.promise("S4.2")
@pytest.mark.parametrize("winner", ["a", "b"])
def test_the_first_parent_to_succeed_feeds_the_join(winner, proposer, operator):
    text = plan(*TWO, join("j"), parallel=True)
    run = approved(text, proposer, operator)
    lease = claimed(run, winner)

    while lease := finished(lease):
        pass

    run.refresh_from_db()
    seen = {
        "won": winner,
        "a": {"n": 1} if winner == "a" else None,
        "b": 2 if winner == "b" else None,
    }
    assert spec_of(run, "j")["params"] == seen
    assert outputs(run)["j"] == {"n": 7, **seen}
    assert run.state == "succeeded"


def test_a_parent_that_finishes_later_changes_nothing_that_was_approved(
    proposer, operator, worker
):
    text = plan(*TWO, join("j", "risky"), parallel=True)
    run = approved(text, proposer, operator)
    run = begun(run, "a", worker)
    shown = spec_of(run, "j")
    between = states(run)
    decided(open_gate(run, "j"), operator)
    run = driven(run, worker)

    assert shown["params"] == {"won": "a", "a": {"n": 1}, "b": None}
    assert between == {"a": "succeeded", "b": "succeeded", "j": "gated"}
    assert outputs(run)["j"] == shown["params"]
    assert Gate.objects.filter(context_id=run.id, step="j").count() == 1
    assert run.steps.get(key="j").attempts.count() == 1


def test_a_join_after_a_failure_gets_null_for_it(proposer, operator, worker):
    text = plan(
        step("a", "misbehave", params={"how": "fail"}),
        step("b", params={"n": 2}),
        join("one"),
        step(
            "report",
            after=["a", "b", "one"],
            trigger_rule="all_done",
            params={"a": "$a.output.ok?", "text": "b said ${b.output.n?}"},
        ),
        onFailure="continue",
    )
    run = driven(approved(text, proposer, operator), worker)

    assert spec_of(run, "one")["absent"] == {"a": "failed"}
    assert outputs(run)["one"] == {"won": "b", "a": None, "b": 2}
    assert outputs(run)["report"] == {"a": None, "text": "b said 2"}
    assert run.state == "partially_succeeded"


def test_a_plain_reference_in_such_a_join_is_refused_at_proposal(proposer):
    text = plan(*TWO, join("j", params={"a": "$a.output"}))

    with pytest.raises(PlanInvalid) as refused:
        proposed(text, proposer)

    problems = refused.value.details["problems"]
    assert [one["code"] for one in problems] == ["plan.reference_may_be_absent"]
    assert "Write $a.output? to get null" in problems[0]["message"]
