"""Which gates a plan will have, and how much of it a dry run covers."""

import pytest

from approvals.domain.policy import Rule
from approvals.domain.seats import Requirement
from orchestration.plans.domain.dryrun import Report, StepPreview
from orchestration.plans.domain.gates import planned_gates
from orchestration.plans.domain.validation import Validation
from tests.unit.plans import Registry, plan

TEXT = """
id: p
steps:
- {id: low, skill: lab, action: ask}
- {id: asked, skill: lab, action: ask, approval: {reason: Look twice}}
- {id: high, skill: jira-write, action: transition}
- {id: people, kind: approval}
"""


def planned(*rules: Rule) -> list[tuple[str | None, str, tuple[str, ...]]]:
    document = plan(TEXT)
    registry = Registry()
    entries = {
        step.id: entry
        for step in document.steps
        if (entry := registry.find(step.skill, None)) is not None
    }
    found = planned_gates(document, Validation([], entries=entries), rules)
    return [(one.step, one.kind, one.reasons) for one in found]


def test_the_plan_gate_is_first_and_high_risk_always_has_one() -> None:
    assert planned() == [
        (None, "plan", ("Nothing runs before its plan is approved.",)),
        ("asked", "step", ("Look twice",)),
        ("high", "step", ("The risk of jira-write transition is high.",)),
        ("people", "approval", ("The plan requires this approval.",)),
    ]


def test_reasons_of_policies_come_before_those_of_the_plan() -> None:
    asks = (Requirement("operator"),)
    found = planned(
        Rule(
            name="lab", version=1, reason="Policy lab", requirements=asks, skill="lab"
        ),
        Rule(name="all", version=1, reason="Policy all", requirements=asks, order=200),
    )

    assert found[1:] == [
        ("low", "step", ("Policy lab", "Policy all")),
        ("asked", "step", ("Policy lab", "Policy all", "Look twice")),
        (
            "high",
            "step",
            ("The risk of jira-write transition is high.", "Policy all"),
        ),
        ("people", "approval", ("The plan requires this approval.",)),
    ]


def preview(kind: str, **fields) -> StepPreview:
    return StepPreview("s", "lab", "ask", kind, "It would.", **fields)


@pytest.mark.parametrize(
    ("steps", "coverage"),
    [
        pytest.param([], 100, id="nothing to cover"),
        pytest.param([preview("approval")], 100, id="people only"),
        pytest.param([preview("native"), preview("simulated")], 100, id="all"),
        pytest.param([preview("native"), preview("none")], 50, id="half"),
        pytest.param([preview("native", touched="a file")], 0, id="touched something"),
        pytest.param(
            [preview("native"), *[preview("none")] * 2], 33, id="rounded down"
        ),
    ],
)
def test_coverage_counts_covered_steps_only(steps, coverage) -> None:
    assert Report(steps).as_json()["coverage"] == coverage
