"""Who may decide on a gate, and whether anybody could."""

import pytest

from approvals.domain import eligibility
from approvals.domain.eligibility import Exclusion, Standing, Unmet, Why, exclusions
from approvals.domain.seats import Requirement
from execfabric.lib.actor import Actor, ActorKind, system

PROPOSER = Actor(ActorKind.USER, "1", "proposer")
EDITOR = Actor(ActorKind.USER, "2", "editor")
AGENT = Actor(ActorKind.AGENT, "3", "agent", owner_id="4")
ASKED = (Requirement("operator", 1), Requirement("legal", 1))


def a_voter(
    kind=ActorKind.USER, key="9", *, active=True, groups=("operator",)
) -> tuple[Actor, Standing | None]:
    standing = Standing("voter", frozenset(groups)) if active else None
    return Actor(kind, key, "voter"), standing


@pytest.mark.parametrize(
    ("voter", "code"),
    [
        pytest.param(a_voter(), None, id="an operator"),
        pytest.param(
            a_voter(ActorKind.AGENT, "3"),
            "auth.agents_cannot_decide",
            id="the agent that proposed",
        ),
        pytest.param(
            a_voter(ActorKind.AGENT, "8"),
            "auth.agents_cannot_decide",
            id="an agent",
        ),
        pytest.param(
            a_voter(ActorKind.SYSTEM, "keeper"),
            "auth.agents_cannot_decide",
            id="the product itself",
        ),
        pytest.param(a_voter(key="4"), "approval.agent_owner", id="the agent's owner"),
        pytest.param(a_voter(key="2"), "approval.edited_by_you", id="the editor"),
        pytest.param(a_voter(key="5"), "approval.excluded", id="excluded by a policy"),
        pytest.param(
            a_voter(active=False),
            "approval.account_inactive",
            id="a deactivated account",
        ),
        pytest.param(
            a_voter(groups=["auditor"]),
            "approval.not_in_group",
            id="another group",
        ),
        pytest.param(
            a_voter(groups=["legal"]), "auth.right_missing", id="no deciding role"
        ),
    ],
)
def test_each_person_gets_their_own_refusal(voter, code) -> None:
    excluded = [
        *exclusions(proposer=AGENT, editors=[EDITOR]),
        Exclusion("user:5", "policy"),
    ]

    refusal = eligibility.may_decide(*voter, requirements=ASKED, excluded=excluded)

    assert (refusal.code if refusal else None) == code


def test_a_proposer_is_told_so_whatever_else_is_wrong() -> None:
    voter = a_voter(key="1", groups=[])
    excluded = exclusions(proposer=PROPOSER, editors=[PROPOSER])

    refusal = eligibility.may_decide(*voter, requirements=ASKED, excluded=excluded)

    assert refusal is not None
    assert refusal.code == "approval.own_proposal"


def test_wrong_group_names_the_groups_that_are_asked() -> None:
    asked = (Requirement("operator", 1), Requirement("legal", 1))
    voter = a_voter(groups=["auditor"])

    refusal = eligibility.may_decide(*voter, requirements=asked, excluded=())

    assert refusal is not None
    assert refusal.details == {"groups": ["legal", "operator"]}
    assert (
        refusal.message
        == "Only members of legal or operator can decide. You are not a member."
    )


def test_an_agent_that_proposes_or_edits_excludes_its_owner() -> None:
    found = exclusions(proposer=PROPOSER, editors=[AGENT, EDITOR])

    assert found == (
        Exclusion("user:1", Why.PROPOSER),
        Exclusion("agent:3", Why.EDITOR),
        Exclusion("user:2", Why.EDITOR),
        Exclusion("user:4", Why.AGENT_OWNER),
    )


def test_the_product_as_proposer_excludes_only_itself() -> None:
    assert exclusions(proposer=system("schedule")) == (
        Exclusion("system:schedule", Why.PROPOSER),
    )


@pytest.mark.parametrize(
    ("requirements", "people", "excluded", "expected"),
    [
        pytest.param(
            [Requirement("operator", 1)], {"ada": {"operator"}}, set(), [], id="enough"
        ),
        pytest.param(
            [Requirement("operator", 1)],
            {"ada": {"operator"}},
            {"ada"},
            [Unmet("operator", 1, 0)],
            id="the only one is excluded",
        ),
        pytest.param(
            [Requirement("legal", 1)],
            {},
            set(),
            [Unmet("legal", 1, 0)],
            id="no such group",
        ),
        pytest.param(
            [Requirement("operator", 1), Requirement("legal", 1)],
            {"ada": {"operator", "legal"}},
            set(),
            [Unmet("operator", 1, 0)],
            id="one person cannot fill both seats",
        ),
        pytest.param(
            [Requirement("operator", 2), Requirement("legal", 1)],
            {"ada": {"operator"}, "bob": {"operator", "legal"}, "cy": {"operator"}},
            set(),
            [],
            id="the one of legal is kept for legal",
        ),
    ],
)
def test_a_gate_that_nobody_could_satisfy_is_found(
    requirements, people, excluded, expected
) -> None:
    assert eligibility.unmet(requirements, people, excluded) == expected
