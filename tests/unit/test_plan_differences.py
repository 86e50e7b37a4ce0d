"""What differs between two revisions of a plan, by step."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.plans.domain import document, form, source
from orchestration.plans.domain.differences import (
    ORDER,
    ComparedPlan,
    ComparedStep,
    FieldChange,
    GateFacts,
    PlanDifference,
    StepChange,
    StepDifference,
    between,
    compared,
)

NO_GATE = GateFacts()
NEEDED = GateFacts(("Customers see it.",), ("1 operator",))


def step(risk: str = "low", gate: GateFacts = NO_GATE, **values) -> ComparedStep:
    return ComparedStep({"id": "a", **values}, risk, gate)


def plan(*steps: tuple[str, ComparedStep], **values) -> ComparedPlan:
    return ComparedPlan(values, dict(steps))


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        pytest.param(step(), step(), None, id="same"),
        pytest.param(
            step(action="read"),
            step(action="write"),
            {"fields": (FieldChange("action", "read", "write"),)},
            id="field",
        ),
        pytest.param(
            step(params={"to": {"path": "a", "mode": 1}}),
            step(params={"to": {"path": "b", "mode": 1}, "new": []}),
            {
                "fields": (
                    FieldChange("params.to.path", "a", "b"),
                    FieldChange("params.new", None, []),
                )
            },
            id="nested",
        ),
        pytest.param(
            step(params={"n": 1}),
            step(params={"n": True}),
            {"fields": (FieldChange("params.n", 1, True),)},
            id="1-is-not-true",
        ),
        pytest.param(
            step(retry={"attempts": 2}),
            step(),
            {"fields": (FieldChange("retry", {"attempts": 2}, None),)},
            id="removed-field",
        ),
        pytest.param(
            step("low"), step("high"), {"risk": FieldChange("risk", "low", "high")},
            id="risk",
        ),
        pytest.param(
            step(),
            step(gate=NEEDED),
            {"gate": FieldChange("required approval", "none", "1 operator: Customers see it.")},
            id="gate-added",
        ),
        pytest.param(
            step(gate=NEEDED),
            step(gate=GateFacts(NEEDED.reasons, ("2 admin",))),
            {
                "gate": FieldChange(
                    "required approval",
                    "1 operator: Customers see it.",
                    "2 admin: Customers see it.",
                )
            },
            id="gate-changed",
        ),
    ],
)  # fmt: skip
def test_a_changed_step_names_each_field_its_risk_and_its_approval(
    before, after, expected
) -> None:
    found = between(plan(("a", before)), plan(("a", after)))

    steps = () if expected is None else (
        StepDifference("a", StepChange.CHANGED, **expected),
    )  # fmt: skip
    assert found == PlanDifference((), steps)
    assert found.is_empty is (expected is None)


def test_added_and_removed_steps_are_told_with_all_they_have() -> None:
    found = between(
        plan(("a", step()), ("b", step("high", NEEDED))),
        plan(("c", step("medium")), ("a", step())),
    )

    assert [(each.step, each.change) for each in found.steps] == [
        ("c", StepChange.ADDED),
        ("b", StepChange.REMOVED),
    ]
    added, removed = found.steps
    assert added.fields == (FieldChange("id", None, "a"),)
    assert added.risk == FieldChange("risk", None, "medium")
    assert removed.risk == FieldChange("risk", "high", None)
    assert removed.gate is not None
    assert removed.gate.after == "none"


def test_the_keys_of_the_plan_and_the_order_of_its_steps_are_compared() -> None:
    found = between(
        plan(("a", step()), ("b", step()), name="One"),
        plan(("b", step()), ("new", step()), ("a", step()), name="Two"),
    )

    assert found.plan == (
        FieldChange("name", "One", "Two"),
        FieldChange(ORDER, ["a", "b"], ["b", "a"]),
    )


def read(steps: list[dict], **keys) -> document.PlanDocument:
    text = json.dumps({"plan": {"id": "p", **keys, "steps": steps}})
    found, _ = form.read(source.parse(text))
    assert found is not None
    return found


STEPS = st.lists(
    st.fixed_dictionaries(
        {"id": st.sampled_from("abc"), "skill": st.just("s")},
        optional={
            "params": st.dictionaries(
                st.sampled_from("xy"),
                st.sampled_from([1, True, "1", None, {"z": 1}, [1], {}]),
            ),
            "action": st.sampled_from(["read", "write"]),
            "timeout": st.sampled_from([1, 2]),
        },
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda each: each["id"],
)
PLANS = st.builds(
    lambda steps, name: read(
        [{"action": "read", **each} for each in steps], name=name
    ),
    STEPS,
    st.sampled_from(["One", "Two"]),
)  # fmt: skip


@given(PLANS, PLANS)
def test_two_revisions_differ_exactly_if_their_digests_do(before, after) -> None:
    found = between(compared(before, {}, ()), compared(after, {}, ()))

    assert found.is_empty is (document.digest(before) == document.digest(after))


def test_a_comparison_of_a_plan_has_its_risks_and_approvals() -> None:
    made = compared(
        read(
            [
                {"id": "a", "skill": "s", "action": "go"},
                {"id": "b", "kind": "approval", "approval": {"reason": "Sure?"}},
            ]
        ),
        {},
        (),
    )

    assert (made.steps["a"].risk, made.steps["b"].risk) == ("unknown", "")
    assert str(made.steps["b"].gate) == "1 operator: Sure?"
