"""Several people, several connections, one gate."""

import random
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest

from approvals import voters
from approvals.domain.eligibility import exclusions
from approvals.domain.seats import Requirement
from approvals.models import Decision, Gate
from audit import selectors as record
from execfabric.lib.actor import Actor
from tests.database import at_once
from tests.integration.approvals_builders import (
    a_gate,
    a_person,
    answer,
    expired,
    holds_why,
    kinds,
    leaves,
    status,
    superseded,
)

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_hundred_identical_approvals_on_many_connections_leave_one_decision() -> None:
    operator = a_person("one", "operator")
    gate = a_gate()
    outcomes = Counter[object]()

    for _ in range(4):
        acts = [lambda: answer(gate, operator).settled] * 25
        outcomes.update(at_once(*acts))

    assert outcomes == {True: 1, False: 99}
    assert Decision.objects.count() == 1
    assert kinds(gate) == ["gate.requested", "gate.decided", "gate.approved"]


def test_two_approvers_at_once_settle_a_gate_of_two_exactly_once() -> None:
    one, two = a_person("one", "operator"), a_person("two", "operator")

    for _ in range(10):
        gate = a_gate(Requirement("operator", 2))
        outcomes = at_once(
            lambda gate=gate: answer(gate, one).settled,
            lambda gate=gate: answer(gate, two).settled,
        )

        assert sorted(outcomes) == [False, True]
        assert status(gate) == "approved"
        assert kinds(gate).count("gate.approved") == 1


def test_of_two_approvers_at_once_on_a_gate_of_one_the_second_is_told() -> None:
    one, two = a_person("one", "operator"), a_person("two", "operator")

    for _ in range(10):
        gate = a_gate()
        outcomes = at_once(
            lambda gate=gate: answer(gate, one).settled,
            lambda gate=gate: answer(gate, two).settled,
        )

        assert set(outcomes) == {True, "approval.already_settled"}
        assert gate.decisions.count() == 1


def test_the_keeper_and_a_person_at_the_same_moment_give_one_outcome() -> None:
    operator = a_person("one", "operator")

    for _ in range(10):
        gate = a_gate()
        at_once(
            lambda gate=gate: answer(gate, operator).settled,
            lambda gate=gate: expired(gate),
            lambda gate=gate: expired(gate),
        )

        settling = {"gate.approved", "gate.expired"} & set(kinds(gate))
        assert settling == {f"gate.{status(gate)}"}
        assert gate.decisions.count() == (status(gate) == "approved")


def test_random_interleavings_never_leave_an_invalid_approval() -> None:
    choose = random.Random(2026)
    proposer = a_person("proposer", "operator")

    for turn in range(40):
        people = [a_person(f"person-{turn}-{n}", "operator") for n in range(3)]
        gate = a_gate(
            Requirement("operator", 2), excluded=exclusions(proposer=proposer)
        )
        acts = acts_on(gate, proposer, choose.choices(people, k=5))
        at_once(*choose.sample(acts, choose.randint(3, len(acts))))

        tell_one_story(gate, proposer)


def acts_on(
    gate: Gate, proposer: Actor, people: list[Actor]
) -> list[Callable[[], object]]:
    """Everything that may happen to a gate at the same moment."""
    yes = [partial(answer, gate, person) for person in people[:3]]
    no = partial(answer, gate, people[3], approve=False, comment="no")
    return [
        *yes,
        no,
        partial(answer, gate, proposer),
        partial(expired, gate),
        partial(superseded, gate),
        partial(leaves, people[4], "operator"),
    ]


def tell_one_story(gate: Gate, proposer: Actor) -> None:
    """Check that row, decisions and events agree, and that every voter was allowed."""
    given = list(gate.decisions.all())
    stored, events = Gate.objects.get(pk=gate.pk), Counter(kinds(gate))
    assert proposer.key not in {decision.voter_key for decision in given}
    assert {bytes(decision.digest) for decision in given} <= {bytes(stored.digest)}
    assert events["gate.decided"] == len(given)
    assert all(count == 1 for kind, count in events.items() if kind != "gate.decided")
    assert record.verify_chain(gate.stream).broken is None
    yes = {decision.voter_key for decision in given if decision.approve}
    if stored.status == "approved":
        assert len(yes) >= 2
        assert len(yes) == len(given)
    still = [key for key, who in voters.standing_of(yes).items() if who.speaks_for]
    holding = stored.status == "approved" and len(still) >= 2
    assert (holds_why(stored) == "") is holding


def test_an_approval_that_is_being_used_cannot_be_superseded_meanwhile() -> None:
    operator = a_person("one", "operator")

    for _ in range(10):
        gate = a_gate()
        answer(gate, operator)
        used, ended = at_once(
            lambda gate=gate: holds_why(gate),
            lambda gate=gate: superseded(gate).status,
        )

        assert used in {"", "not_approved"}
        assert ended == "superseded"
        assert holds_why(gate) == "not_approved"
