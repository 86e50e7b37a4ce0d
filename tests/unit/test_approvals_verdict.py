"""What ballots add up to, and who can fill which seat."""

import itertools
import random

import pytest

from approvals.domain import seats, verdict
from approvals.domain.seats import Requirement
from approvals.domain.states import GateEvent
from approvals.domain.verdict import Ballot
from approvals.errors import RequirementInvalid

TWO_OPERATORS = (Requirement("operator", 2),)
OPERATOR_AND_LEGAL = (Requirement("operator", 1), Requirement("legal", 1))


def yes(voter: str, *groups: str) -> Ballot:
    return Ballot(voter, approve=True, groups=frozenset(groups or ("operator",)))


def no(voter: str, *groups: str) -> Ballot:
    return Ballot(voter, approve=False, groups=frozenset(groups or ("operator",)))


@pytest.mark.parametrize(
    ("ballots", "expected"),
    [
        pytest.param([], None, id="nobody"),
        pytest.param([yes("ada")], GateEvent.COUNTED, id="one of two"),
        pytest.param(
            [yes("ada"), yes("ada")], GateEvent.COUNTED, id="same person twice"
        ),
        pytest.param([yes("ada"), yes("bob")], GateEvent.APPROVED, id="two of two"),
        pytest.param(
            [yes("ada"), yes("asker")], GateEvent.COUNTED, id="asker is excluded"
        ),
        pytest.param(
            [yes("ada"), yes("eve", "guest")], GateEvent.COUNTED, id="wrong group"
        ),
        pytest.param([yes("eve", "guest")], None, id="only a wrong group"),
        pytest.param(
            [yes("ada"), yes("bob"), no("cy")],
            GateEvent.REJECTED,
            id="one no settles it",
        ),
        pytest.param([no("cy"), yes("ada")], GateEvent.REJECTED, id="no comes first"),
        pytest.param(
            [yes("ada"), yes("bob"), no("asker")],
            GateEvent.APPROVED,
            id="an excluded no does not count either",
        ),
        pytest.param(
            [yes("ada"), yes("bob"), yes("cy")],
            GateEvent.APPROVED,
            id="more than needed",
        ),
    ],
)
def test_two_operators_asked_by_the_excluded_asker(ballots, expected) -> None:
    found = verdict.of(ballots, requirements=TWO_OPERATORS, excluded={"asker"})

    assert found is expected


@pytest.mark.parametrize(
    ("ballots", "expected"),
    [
        pytest.param(
            [yes("ada", "operator", "legal")],
            GateEvent.COUNTED,
            id="one person in both groups fills one seat",
        ),
        pytest.param(
            [yes("ada", "operator"), yes("bob", "operator")],
            GateEvent.COUNTED,
            id="two of the same group do not stand in for the other",
        ),
        pytest.param(
            [yes("ada", "legal", "operator"), yes("bob", "legal")],
            GateEvent.APPROVED,
            id="whoever is in both moves over",
        ),
        pytest.param(
            [yes("ada", "legal", "operator"), yes("bob", "operator")],
            GateEvent.APPROVED,
            id="whoever is in both moves over the other way",
        ),
    ],
)
def test_all_groups_are_needed_and_a_person_fills_one_seat(ballots, expected) -> None:
    for order in itertools.permutations(ballots):
        found = verdict.of(order, requirements=OPERATOR_AND_LEGAL, excluded=set())

        assert found is expected


def test_without_requirements_nothing_is_ever_approved() -> None:
    found = verdict.of([yes("ada"), yes("bob")], requirements=(), excluded=set())

    assert found is None


def test_seating_is_a_maximum_in_every_small_case() -> None:
    groups = ("a", "b", "c")
    sets = [frozenset(c) for n in range(4) for c in itertools.combinations(groups, n)]
    choose = random.Random(7)
    for _ in range(400):
        required = [
            Requirement(group, choose.randint(1, 2))
            for group in choose.sample(groups, choose.randint(1, 3))
        ]
        people = {f"p{n}": choose.choice(sets) for n in range(choose.randint(0, 5))}

        assert seats.filled(required, people) == most_by_trying_all(required, people)


def most_by_trying_all(required, people) -> int:
    best = 0
    for places in itertools.product(*([None, *groups] for groups in people.values())):
        counts = {r.group: places.count(r.group) for r in required}
        fits = all(counts[r.group] <= r.count for r in required)
        known = all(place is None or place in counts for place in places)
        if fits and known:
            best = max(best, sum(counts.values()))
    return best


def test_a_huge_count_costs_no_more_than_its_people() -> None:
    people = {f"p{n}": {"operator"} for n in range(50)}

    assert seats.filled([Requirement("operator", 10**9)], people) == 50


@pytest.mark.parametrize(
    ("group", "count"),
    [pytest.param("operator", 0, id="nobody"), pytest.param(" ", 1, id="no group")],
)
def test_a_requirement_that_asks_nobody_is_refused(group, count) -> None:
    with pytest.raises(RequirementInvalid):
        Requirement(group, count)


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        pytest.param({"operator"}, False, id="the seat of operator is taken"),
        pytest.param({"legal"}, True, id="legal is free"),
        pytest.param({"guest"}, False, id="a group that is not asked"),
    ],
)
def test_only_an_approval_that_fills_a_seat_would_count(groups, expected) -> None:
    found = verdict.would_count(
        frozenset(groups),
        [yes("ada", "operator")],
        requirements=OPERATOR_AND_LEGAL,
        excluded=set(),
    )

    assert found is expected
