"""What the pages and the API say about the fallback of a step."""

import pytest

from orchestration.plans.domain import differences
from orchestration.plans.services import comparing
from orchestration.runs.domain.results import Failure, Finished
from orchestration.runs.models import Run
from tests.api_builders import Caller, token_of
from tests.builders import (
    approved,
    claimed,
    completed,
    decided,
    open_gate,
    plan,
    proposed,
    step,
)
from tests.console_builders import signed_in, words
from tests.web.run_builders import page_of, step_of

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]

RISKY = {"skill": "lab", "action": "risky", "params": {"to": "<b>the second host</b>"}}
PLAN = plan(step("q", "misbehave", params={"how": "fail"}, fallback=RISKY))
BAD = Failure("lab.failed", "The first host said no.")


def test_an_approver_sees_the_fallback_and_its_risk(proposer, operator):
    run = proposed(PLAN, proposer)

    page = signed_in(operator).get(f"/gates/{open_gate(run).pk}")

    shown = words(page)
    assert "If it fails for good: Laboratory action risky. High risk" in shown
    assert "The fallback needs its own approval before it runs" in shown
    assert "undo: echo" in shown
    assert "the second host" in shown
    assert "<b>the second host" not in page.content.decode()


def test_a_run_says_that_a_step_used_its_fallback(proposer, operator):
    run = approved(PLAN, proposer, operator)
    client = signed_in(operator)
    assert "If the step fails for good, its fallback runs" in words(
        step_of(run, "q", client)
    )
    completed(claimed(run, "q"), BAD)
    assert "Falling back" in words(page_of(run, client))
    decided(open_gate(run, "q.fallback"), operator)
    completed(claimed(run, "q.fallback"), Finished({"done": 1}, {}))

    assert "used its fallback" in words(page_of(run, client))
    own = words(step_of(run, "q", client))
    assert "The step failed. Its output is that of its fallback: lab risky." in own
    assert "View the fallback" in own
    other = words(step_of(run, "q.fallback", client))
    assert "Fallback of step q , which failed: The first host said no." in other


def test_the_api_says_that_a_step_used_its_fallback(proposer, operator):
    run = approved(PLAN, proposer, operator)
    completed(claimed(run, "q"), BAD)
    decided(open_gate(run, "q.fallback"), operator)
    completed(claimed(run, "q.fallback"), Finished({"done": 1}, {}))

    steps = Caller(token_of(proposer)).get(f"runs/{run.pk}").json()["steps"]

    assert [(one["id"], one["used_fallback"], one["output"]) for one in steps] == [
        ("q", True, {"done": 1}),
        ("q.fallback", False, {"done": 1}),
    ]


def test_a_comparison_names_the_risk_and_approval_of_a_fallback(proposer):
    safe = {"skill": "lab", "action": "echo"}
    texts = [plan(step("q", fallback=one)) for one in (safe, RISKY)]
    before, after = (proposed(text, proposer).revision for text in texts)

    [changed] = comparing.compare(before, after, by=proposer.actor()).steps

    assert changed.change is differences.StepChange.CHANGED
    assert {one.field for one in changed.fields} == {
        "fallback.action",
        "fallback.params",
    }
    assert (changed.risk.before, changed.risk.after) == (
        "low, fallback: low",
        "low, fallback: high",
    )
    assert "Fallback:" in changed.gate.after
    assert Run.objects.count() == 2
