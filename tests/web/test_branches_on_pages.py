"""What the pages of an approval and of a run say about conditions and choices."""

import pytest

from tests.builders import approved, open_gate, plan, proposed, step
from tests.console_builders import signed_in, words
from tests.web.run_builders import page_of, step_of

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]

PLAN = plan(
    {
        "id": "route",
        "kind": "choose",
        "choose": [
            {"if": "inputs.n > 1", "then": ["deep", "slow"]},
            {"else": ["quick"]},
        ],
    },
    step("deep", "risky"),
    step("slow", "risky"),
    step("quick"),
    step("late", when="inputs.n > '<b>'.size() + 9"),
    step("two", after=["deep", "slow", "quick"], triggerRule={"atLeast": 2}),
    inputs={"type": "object", "properties": {"n": {"type": "integer"}}},
    parallel=True,
)


def test_an_approval_shows_every_condition_and_rule(proposer, operator):
    run = proposed(PLAN, proposer, {"n": 3})

    page = signed_in(operator).get(f"/gates/{open_gate(run).pk}")

    shown = words(page)
    assert "If inputs.n > 1 : deep , slow" in shown
    assert "Otherwise: quick" in shown
    assert "Runs only if step route chooses it." in shown
    assert "Starts when at least 2 of its dependencies have succeeded." in shown
    assert "<b>'" not in page.content.decode()
    assert "&lt;b&gt;" in page.content.decode()


def test_a_run_says_why_a_step_was_skipped(proposer, operator):
    run = approved(PLAN, proposer, operator, n=3)
    client = signed_in(operator)

    assert "Skipped by condition" in words(page_of(run, client))
    left = words(step_of(run, "quick", client))
    assert "Step route did not choose it." in left
    assert "This is not a failure" in left
    assert "Its condition is false" in words(step_of(run, "late", client))
    chosen = words(step_of(run, "route", client))
    assert "Rule 1 applied. Chosen: deep, slow." in chosen
    assert "Parameters" not in chosen
