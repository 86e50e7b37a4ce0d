"""Fallbacks: their approvals, how they end with their run, and what is checked."""

import pytest

from approvals.models import Gate
from execfabric.lib import canonical, clock
from orchestration.plans.errors import PlanInvalid
from orchestration.runs.control import control
from orchestration.runs.domain.results import Finished
from tests.builders import (
    approved,
    claimed,
    completed,
    decided,
    open_gate,
    plan,
    proposed,
    states,
    step,
)
from tests.integration.fallback_builders import BAD, echo, ended, with_fallback
from tests.record import is_whole

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry", "path"),
]


def test_a_high_risk_fallback_needs_its_own_approval(proposer, operator):
    """The plan's approver sees it before; its exact parameters are approved when used."""
    risky = {"skill": "lab", "action": "risky", "params": {"by": "$a.output.x"}}
    text = plan(step("a"), with_fallback(fallback=risky, after="a"))
    run = proposed(text, proposer)
    seen = canonical.loads(bytes(open_gate(run).subject))
    assert open_gate(run).risk == "high"
    shown = seen["steps"][1]["fallback"]
    assert (shown["action"], shown["risk"], shown["undo"]["action"]) == (
        "risky",
        "high",
        "echo",
    )
    assert shown["gates"]
    decided(open_gate(run), operator)

    completed(completed(claimed(run, "a"), Finished({"x": 1}, {})), BAD)
    assert states(run)["q.fallback"] == "gated"
    gate = open_gate(run, "q.fallback")
    spec = canonical.loads(bytes(gate.subject))
    assert (spec["action"], spec["params"], spec["step"]) == (
        "risky",
        {"by": 1},
        "q.fallback",
    )
    assert spec["undo"]["action"] == "echo"
    decided(gate, operator)
    completed(claimed(run, "q.fallback"), Finished({"by": 1}, {}))

    assert ended(run).state == "succeeded"


def test_a_fallback_keeps_the_approval_of_its_step(proposer, operator):
    run = approved(plan(with_fallback(approval=True)), proposer, operator)
    decided(open_gate(run, "q"), operator)

    completed(claimed(run, "q"), BAD)

    assert states(run)["q.fallback"] == "gated"


def test_a_rejected_fallback_ends_the_run(proposer, operator):
    text = plan(with_fallback(fallback={"skill": "lab", "action": "risky"}))
    run = approved(text, proposer, operator)
    completed(claimed(run, "q"), BAD)

    decided(open_gate(run, "q.fallback"), operator, approve=False)

    assert ended(run).state == "rejected"
    assert set(states(run).values()) == {"rejected"}
    assert is_whole(run)


def test_a_cancelled_run_ends_the_step_with_its_fallback(proposer, operator):
    text = plan(with_fallback(fallback={"skill": "lab", "action": "risky"}))
    run = approved(text, proposer, operator)
    completed(claimed(run, "q"), BAD)

    control.cancel(run_id=run.id, by=operator.actor(), at=clock.now())

    assert ended(run).state == "cancelled"
    assert set(states(run).values()) == {"cancelled"}
    assert not Gate.objects.filter(context_id=run.id, status="requested").exists()


def test_a_fallback_that_runs_while_the_run_is_cancelled_counts(proposer, operator):
    run = approved(plan(with_fallback(), step("z", after="q")), proposer, operator)
    lease = completed(claimed(run, "q"), BAD)
    control.cancel(run_id=run.id, by=operator.actor(), at=clock.now())

    completed(lease, Finished({"by": "fallback"}, {}))

    assert ended(run).state == "cancelled"
    assert states(run) == {
        "q": "succeeded",
        "q.fallback": "succeeded",
        "z": "cancelled",
    }


def test_a_paused_run_falls_back_when_it_resumes(proposer, operator):
    run = approved(plan(with_fallback()), proposer, operator)
    lease = claimed(run, "q")
    control.pause(run_id=run.id, by=operator.actor(), at=clock.now())
    completed(lease, BAD)
    assert states(run) == {"q": "falling_back", "q.fallback": "pending"}

    control.resume(run_id=run.id, by=operator.actor(), at=clock.now())

    assert states(run) == {"q": "falling_back", "q.fallback": "ready"}
    assert run.steps.get(key="q").generation == 1


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ({"fallback": echo(x="$q.output")}, "plan.self_reference", "itself"),
        ({"fallback": echo(x="$b.output")}, "plan.reference_not_ancestor", "dependsOn"),
        ({"fallback": {"action": "echo"}}, "plan.missing_key", "'skill'"),
        ({"fallback": {"skill": "lab"}}, "plan.missing_key", "'action'"),
        (
            {"fallback": {"skill": "lab", "action": "eco"}},
            "plan.unknown_action",
            "echo",
        ),
        ({"fallback": {"skill": "lib", "action": "x"}}, "plan.unknown_skill", "lab"),
        (
            {"fallback": {"skill": "lab@9", "action": "echo"}},
            "plan.unknown_version",
            "1.0.0",
        ),
        ({"fallback": {**echo(), "when": "true"}}, "plan.unknown_key", "'when'"),
        ({"fallback": "echo"}, "plan.wrong_type", "an object"),
        (
            {"fallback": {"skill": "lab", "action": "strict", "params": {"url": 1}}},
            "plan.param_invalid",
            "url",
        ),
        ({"id": "q" * 92, "fallback": echo()}, "plan.id_too_long", "max 91"),
    ],
)
def test_a_wrong_fallback_is_marked_where_it_is(fields, code, words, proposer):
    text = plan(step("q", **{"id": "q", **fields}), step("b"))

    with pytest.raises(PlanInvalid) as refused:
        proposed(text, proposer)

    [problem] = refused.value.details["problems"]
    assert problem["code"] == code
    assert words in problem["message"]
    assert problem["line"] == 1
    assert problem["column"] >= text.index("fallback")


def test_a_reference_needs_the_outputs_of_both(proposer):
    text = plan(
        step("q", "effect", fallback={"skill": "lab", "action": "misbehave"}),
        step("b", after="q", params={"x": "$q.output.nothing", "f": "$q.files.note"}),
        step("c", after="q", when="steps.q.output.other > 1"),
    )

    with pytest.raises(PlanInvalid) as refused:
        proposed(text, proposer)

    found = [(one["code"], one["message"]) for one in refused.value.details["problems"]]
    assert [code for code, _ in found] == ["plan.reference_unknown"] * 3
    assert "the files of the fallback of q are: none" in " ".join(m for _, m in found)


def test_a_type_that_only_the_step_has_is_refused(proposer):
    typed = step(
        "q",
        "misbehave",
        params={"how": "ok"},
        fallback={"skill": "noop", "action": "echo", "params": {"message": "x"}},
    )
    text = plan(typed, step("b", "strict", after="q", params={"url": "$q.output.ok"}))

    with pytest.raises(PlanInvalid) as refused:
        proposed(text, proposer)

    assert "plan.type_mismatch" in {
        one["code"] for one in refused.value.details["problems"]
    }
