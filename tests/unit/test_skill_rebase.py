"""What a newly shipped contract does to a skill that an admin may have changed."""

from dataclasses import replace

import pytest

from orchestration.skills.domain.contract import (
    ActionContract,
    EffectClass,
    RetryRule,
    Risk,
    SkillContract,
)
from orchestration.skills.domain.rebase import ADMINS, Then, decide, free_number
from orchestration.skills.domain.states import SkillState
from orchestration.skills.services.registry import EDITABLE_OF_ACTION

ANY = {"type": "object"}
CLOSED = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"root": ANY, "most": ANY},
}


def action(name: str = "publish", **fields) -> ActionContract:
    made = ActionContract(
        name=name,
        summary="Publish it.",
        handler=f"things.{name}@1",
        input_schema=ANY,
        output_schema=ANY,
        effect_class=EffectClass.IDEMPOTENT,
        risk=Risk.MEDIUM,
    )
    return replace(made, **fields)


def contract(version: str, *actions: ActionContract, **fields) -> SkillContract:
    made = SkillContract(
        slug="things",
        version=version,
        name="Things",
        description="Does things.",
        actions=actions or (action(),),
        config={"root": "/srv", "most": 5},
        config_schema=ANY,
        allowed=("Read.",),
        forbidden=("Delete.",),
    )
    return replace(made, **fields)


BASE = contract("1.0.0")


def decided(current, shipped, *, base=BASE, state=SkillState.ACTIVE, taken=()):
    return decide(current=current, shipped=shipped, base=base, state=state, taken=taken)


SHIPPED = contract("1.1.0", action(summary="Publish it well."))
OURS = replace(BASE, version="1.0.1", config={"root": "/ours", "most": 5})


@pytest.mark.parametrize(
    ("current", "shipped", "base", "state", "then"),
    [
        pytest.param(BASE, SHIPPED, BASE, "active", Then.PUBLISH, id="untouched"),
        pytest.param(OURS, SHIPPED, BASE, "active", Then.DRAFT, id="customised"),
        pytest.param(BASE, SHIPPED, None, "active", Then.DRAFT, id="unknown origin"),
        pytest.param(BASE, SHIPPED, BASE, "deprecated", Then.DRAFT, id="deprecated"),
        pytest.param(BASE, SHIPPED, BASE, "quarantined", Then.DRAFT, id="quarantined"),
        pytest.param(BASE, BASE, BASE, "active", Then.KEEP, id="nothing new"),
        pytest.param(OURS, BASE, BASE, "active", Then.KEEP, id="nothing new, customised"),
        pytest.param(BASE, BASE, None, "active", Then.KEEP, id="the same, unknown origin"),
        pytest.param(SHIPPED, BASE, SHIPPED, "active", Then.KEEP, id="older release"),
        pytest.param(
            replace(BASE, version="1.0.7"), SHIPPED, BASE, "active", Then.PUBLISH,
            id="untouched but bound to new code",
        ),
    ],
)  # fmt: skip
def test_a_shipped_version_is_published_only_where_no_admin_has_decided(
    current, shipped, base, state, then
):
    decision = decided(current, shipped, base=base, state=SkillState(state))

    assert decision.then is then
    assert (decision.contract is None) == (then is Then.KEEP)


def only(decision) -> ActionContract:
    return decision.contract.actions[0]


RISKS = list(Risk)


@pytest.mark.parametrize("mine", RISKS)
@pytest.mark.parametrize("shipped", RISKS)
@pytest.mark.parametrize("base", [*RISKS, None])
def test_no_risk_is_ever_lowered(base, shipped, mine):
    known = contract("1.0.0", action(risk=base)) if base else None

    decision = decided(
        contract("1.0.1", action(risk=mine)),
        contract("1.1.0", action(risk=shipped, summary="New.")),
        base=known,
    )

    assert only(decision).risk == max(mine, shipped, key=lambda risk: risk.rank)
    noted = any("risk of publish stays" in note for note in decision.notes)
    assert noted == (mine.rank > shipped.rank)


@pytest.mark.parametrize(
    ("field", "base", "mine", "shipped", "merged"),
    [
        pytest.param("timeout_s", 60, 60, 90, 90, id="only shipped changed it"),
        pytest.param("timeout_s", 60, 7, 60, 7, id="only the admin changed it"),
        pytest.param("timeout_s", 60, 7, 90, 7, id="both did: the admin's"),
        pytest.param("summary", "A.", "B.", "C.", "B.", id="a text likewise"),
        pytest.param("handler", "a@1", "a@1", "a@2", "a@2", id="code is shipped"),
        pytest.param("sandboxed", False, False, True, True, id="sandbox added"),
        pytest.param("sandboxed", True, True, False, True, id="sandbox stays"),
        pytest.param(
            "retry", RetryRule(3), RetryRule(1), RetryRule(5), RetryRule(1), id="retry"
        ),
        pytest.param(
            "effect_class", EffectClass.IDEMPOTENT, EffectClass.NON_IDEMPOTENT,
            EffectClass.PURE, EffectClass.NON_IDEMPOTENT, id="effect made stricter",
        ),
        pytest.param(
            "effect_class", EffectClass.NON_IDEMPOTENT, EffectClass.NON_IDEMPOTENT,
            EffectClass.IDEMPOTENT, EffectClass.IDEMPOTENT, id="effect of new code",
        ),
    ],
)  # fmt: skip
def test_an_action_is_merged_field_by_field(field, base, mine, shipped, merged):
    decision = decided(
        contract("1.0.1", action(**{field: mine})),
        contract("1.1.0", action(**{field: shipped}), description="New."),
        base=contract("1.0.0", action(**{field: base})),
    )

    assert getattr(only(decision), field) == merged


@pytest.mark.parametrize(
    ("mine", "shipped", "schema", "merged"),
    [
        pytest.param(
            {"root": "/ours", "most": 5}, {"root": "/new", "most": 9}, ANY,
            {"root": "/ours", "most": 9}, id="by key",
        ),
        pytest.param(
            {"root": "/srv", "most": 5, "extra": 1}, {"root": "/srv", "most": 5}, ANY,
            {"root": "/srv", "most": 5, "extra": 1}, id="an admin's own key",
        ),
        pytest.param(
            {"root": "/srv"}, {"root": "/srv", "most": 5}, ANY,
            {"root": "/srv"}, id="a key that the admin removed",
        ),
        pytest.param(
            {"root": "/ours", "most": 5}, {"root": "/srv", "most": 5, "new": 1}, ANY,
            {"root": "/ours", "most": 5, "new": 1}, id="a new key",
        ),
        pytest.param(
            {"root": "/ours", "gone": 1}, {"root": "/srv"}, CLOSED,
            {"root": "/ours"}, id="a key that the schema has not any more",
        ),
    ],
)  # fmt: skip
def test_the_configuration_is_merged_by_key(mine, shipped, schema, merged):
    decision = decided(
        replace(BASE, version="1.0.1", config=mine),
        contract("1.1.0", description="New.", config=shipped, config_schema=schema),
    )

    assert decision.contract.config == merged
    gone = set(mine) - set(merged)
    assert [n for n in decision.notes if "key" in n] == [
        f"The configuration key {key!r} is removed." for key in gone
    ]


def test_what_is_forbidden_stays_forbidden():
    decision = decided(
        replace(BASE, forbidden=("Delete.", "Leave the building.")),
        replace(BASE, version="1.1.0", forbidden=("Follow links.",)),
    )

    assert decision.contract.forbidden == (
        "Delete.",
        "Leave the building.",
        "Follow links.",
    )


def test_what_no_longer_fits_is_named():
    current = contract(
        "1.0.1",
        action(undo="unpublish", timeout_s=7),
        action("unpublish"),
        action("ask"),
    )
    changed = action("ask", handler="things.ask@2", input_schema={"type": "null"})

    decision = decided(
        current,
        contract("1.1.0", action(), changed),
        base=replace(current, version="1.0.0"),
    )

    assert only(decision).undo == ""
    assert decision.notes == (
        "The action unpublish is removed.",
        "ask runs things.ask@2 instead of things.ask@1.",
        "The input of ask has changed.",
    )


@pytest.mark.parametrize(
    ("current", "shipped", "taken", "number"),
    [
        ("1.0.0", "1.1.0", [], "1.1.0"),
        ("1.0.0", "1.1.0", ["1.1.0"], "1.1.1"),
        ("1.0.0", "1.1.0", ["1.1.0", "1.1.1"], "1.1.2"),
        ("2.0.0", "1.1.0", [], "2.0.1"),
        ("2.0.0", "1.1.0", ["2.0.1"], "2.0.2"),
        ("1.0.0", "1.0.0", [], "1.0.1"),
        ("1.9.0", "1.10.0", [], "1.10.0"),
    ],
)
def test_a_version_number_is_never_used_twice(current, shipped, taken, number):
    assert free_number(current, shipped, taken) == number


def test_what_admins_may_edit_is_theirs_in_a_conflict():
    assert EDITABLE_OF_ACTION <= ADMINS
