"""Gates as they open, expire, are superseded, and hold or not at dispatch."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from approvals import selectors
from approvals.domain.seats import Requirement
from approvals.errors import GateDoesNotHold, GateUnknown
from approvals.models import Gate
from approvals.services import gates as approvals
from audit.errors import NotInTransaction
from execfabric.identity.models import User
from execfabric.lib.machine import IllegalTransition
from tests.integration.approvals_builders import (
    ENGINE,
    LATER,
    NOON,
    OVER,
    a_gate,
    a_person,
    a_subject,
    an_agent,
    answer,
    deactivate,
    expired,
    holds_why,
    kinds,
    leaves,
    opened,
    status,
    superseded,
    told,
    withdrawn,
)

pytestmark = pytest.mark.django_db


def an_approved_gate(*people, **facts) -> Gate:
    gate = a_gate(Requirement("operator", len(people)), **facts)
    for person in people:
        gate = answer(gate, person).gate
    assert gate.status == "approved"
    return gate


def test_an_approval_holds_for_exactly_its_bytes_until_its_expiry() -> None:
    gate = an_approved_gate(a_person("one", "operator"), a_person("two", "operator"))

    assert holds_why(gate) == ""
    assert holds_why(gate, digest=b"\0" * 32) == "digest_differs"
    assert holds_why(gate, at=OVER - timedelta(microseconds=1)) == ""
    assert holds_why(gate, at=OVER) == "expired"


def test_a_refusal_to_run_shows_both_digests() -> None:
    gate = an_approved_gate(a_person("one", "operator"))

    with pytest.raises(GateDoesNotHold) as refused, transaction.atomic():
        approvals.holds(gate_id=gate.pk, digest=b"\1" * 32, at=LATER)

    assert refused.value.details == {
        "gate": str(gate.pk),
        "why": "digest_differs",
        "status": "approved",
        "digest": gate.digest_hex,
        "found": "01" * 32,
    }


@pytest.mark.parametrize(
    "end",
    [
        pytest.param("requested", id="requested"),
        pytest.param("partial", id="partial"),
        pytest.param("rejected", id="rejected"),
        pytest.param("expired", id="expired"),
        pytest.param("superseded", id="superseded"),
    ],
)
def test_only_an_approved_gate_holds(end) -> None:
    one, two = a_person("one", "operator"), a_person("two", "operator")
    gate = a_gate(Requirement("operator", 2))
    if end != "requested":
        answer(gate, one)
    if end == "rejected":
        answer(gate, two, approve=False, comment="no")
    if end == "expired":
        expired(gate)
    if end == "superseded":
        answer(gate, two)
        superseded(gate)

    assert status(gate) == end
    assert holds_why(gate) == "not_approved"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda one: leaves(one, "operator"), id="left the group"),
        pytest.param(deactivate, id="deactivated"),
        pytest.param(lambda one: User.objects.get(pk=one.id).delete(), id="deleted"),
    ],
)
def test_an_approval_does_not_hold_once_an_approver_has_lost_the_right(change) -> None:
    one = a_person("one", "operator")
    gate = an_approved_gate(one, a_person("two", "operator"))

    change(one)

    assert holds_why(gate) == "approvers_changed"


def test_an_approver_who_is_back_counts_again() -> None:
    one = a_person("one", "operator")
    gate = an_approved_gate(one)
    deactivate(one)
    assert holds_why(gate) == "approvers_changed"

    User.objects.filter(pk=one.id).update(is_active=True)

    assert holds_why(gate) == ""


def test_an_approver_in_the_groups_of_another_seat_does_not_fill_two() -> None:
    one = a_person("one", "operator", "admin")
    two = a_person("two", "admin")
    gate = a_gate(Requirement("operator", 1), Requirement("admin", 1))
    answer(gate, one)
    answer(gate, two)
    assert holds_why(gate) == ""

    leaves(two, "admin")

    assert holds_why(gate) == "approvers_changed"


def test_a_status_that_was_set_by_hand_is_not_believed() -> None:
    gate = a_gate()
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE approvals_gate DISABLE TRIGGER USER")
    Gate.objects.filter(pk=gate.pk).update(
        status="approved", settled_at=LATER, settled_reason="by hand"
    )

    assert holds_why(gate) == "approvers_changed"


@pytest.mark.parametrize(
    ("sql", "why"),
    [
        pytest.param(
            "ALTER TABLE approvals_gate DISABLE TRIGGER approvals_gate_guard;"
            " ALTER TABLE approvals_gate DROP CONSTRAINT gate_digest_is_of_its_subject;"
            " UPDATE approvals_gate SET subject = subject || ' '::bytea",
            "subject_tampered",
            id="the bytes",
        ),
        pytest.param(
            "ALTER TABLE approvals_decision DISABLE TRIGGER insert_only;"
            " UPDATE approvals_decision SET digest = sha256('other')",
            "decision_digest_differs",
            id="what an approver decided on",
        ),
        pytest.param(
            "ALTER TABLE approvals_gate DISABLE TRIGGER approvals_gate_guard;"
            " UPDATE approvals_gate SET excluded ="
            " (SELECT jsonb_build_array(jsonb_build_object('key', voter_key, 'why',"
            " 'editor')) FROM approvals_decision LIMIT 1)",
            "approvers_changed",
            id="who is excluded",
        ),
    ],
)
def test_what_was_changed_behind_all_guards_does_not_hold(sql, why) -> None:
    gate = an_approved_gate(a_person("one", "operator"))
    with connection.cursor() as cursor:
        # A deferred foreign key check would otherwise keep the table from changing.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(sql)

    assert holds_why(gate) == why


def test_superseding_an_approved_gate_tells_both_digests_and_frees_its_place() -> None:
    proposer = a_person("proposer")
    gate = opened(a_subject(by=proposer))
    answer(gate, a_person("one", "operator"))

    ended = superseded(gate, found="ff" * 32, reason="rows changed")

    assert (ended.status, ended.settled_reason) == ("superseded", "rows changed")
    assert told(gate)[-1] == (
        "gate.superseded",
        {
            "gate": str(gate.pk),
            "kind": "step",
            "digest": gate.digest_hex,
            "found": "ff" * 32,
            "reason": "rows changed",
        },
    )
    following = a_subject(by=proposer, subject_id=gate.subject_id)
    assert opened(following, at=LATER).rev == 2


@pytest.mark.parametrize("end", ["rejected", "expired", "superseded"])
def test_a_final_gate_can_be_neither_superseded_nor_withdrawn(end) -> None:
    gate = a_gate()
    if end == "rejected":
        answer(gate, a_person("one", "operator"), approve=False, comment="no")
    if end == "expired":
        expired(gate)
    if end == "superseded":
        withdrawn(gate)
    before = kinds(gate)

    with pytest.raises(IllegalTransition):
        superseded(gate)
    with pytest.raises(IllegalTransition):
        withdrawn(gate)

    assert kinds(gate) == before


def test_expiry_happens_once_and_not_before_its_time() -> None:
    gate = a_gate()

    early = expired(gate, at=OVER - timedelta(microseconds=1))
    first = expired(gate)
    again = expired(gate)

    assert (early, again) == (None, None)
    assert first is not None
    assert (first.status, first.settled_at) == ("expired", OVER)
    assert kinds(gate) == ["gate.requested", "gate.expired"]


def test_an_approved_gate_is_not_expired_by_the_keeper() -> None:
    gate = an_approved_gate(a_person("one", "operator"))

    assert expired(gate) is None
    assert status(gate) == "approved"


def test_the_keeper_finds_open_gates_whose_time_is_over() -> None:
    over, _later = a_gate(), a_gate(expires_at=OVER + timedelta(seconds=1))
    partial = a_gate(Requirement("operator", 2), expires_at=OVER - timedelta(seconds=1))
    answer(partial, a_person("one", "operator"))
    an_approved_gate(a_person("two", "operator"))

    def due(limit: int, skip=()) -> list[Any]:
        found = selectors.expired_gates(at=OVER, skip=skip, limit=limit)
        return [gate_id for _, gate_id in found]

    assert due(limit=10) == [partial.pk, over.pk]
    assert due(limit=1) == [partial.pk]
    assert due(limit=10, skip=[partial.context_id]) == [over.pk]


@pytest.mark.django_db(transaction=True)
def test_a_gate_opens_only_in_the_transaction_of_what_it_holds_back() -> None:
    with pytest.raises(NotInTransaction):
        approvals.open_gate(a_subject(), at=NOON)

    assert not Gate.objects.exists()


def test_a_gate_that_nobody_can_answer_opens_and_says_so() -> None:
    gate = a_gate(Requirement("legal", 2))

    assert told(gate)[0][1]["unmet"] == [{"group": "legal", "count": 2, "have": 0}]


def test_the_inbox_shows_only_gates_where_an_approval_would_count() -> None:
    one = a_person("one", "operator", "admin")
    other = a_person("two", "operator")
    wanted = a_gate()
    a_gate(by=one)
    a_gate(Requirement("legal", 1))
    answered = a_gate(Requirement("operator", 2))
    answer(answered, one)
    filled = a_gate(Requirement("operator", 1), Requirement("legal", 1))
    answer(filled, other)
    moves_over = a_gate(Requirement("operator", 1), Requirement("admin", 1))
    answer(moves_over, other)
    answer(a_gate(), other)
    a_gate(expires_at=LATER)

    assert [gate.pk for gate in selectors.inbox(by=one, at=LATER)] == [
        wanted.pk,
        moves_over.pk,
    ]


def test_the_inbox_of_those_who_cannot_decide_is_empty() -> None:
    owner = a_person("owner", "operator")
    a_gate()
    a_gate(Requirement("auditor", 1))

    for by in (
        an_agent("robot", owner),
        ENGINE,
        a_person("auditor", "auditor"),
        a_person("closed", "operator", active=False),
        a_person("proposer", "proposer"),
    ):
        assert selectors.inbox(by=by, at=LATER) == []


def test_people_without_an_overview_see_the_gates_of_their_own_proposals() -> None:
    owner = a_person("owner", "proposer")
    robot = an_agent("robot", owner)
    proposer = a_person("proposer", "proposer")
    own, robots = a_gate(by=proposer), a_gate(by=robot)

    def seen(by):
        return set(selectors.visible_to(by).values_list("pk", flat=True))

    assert seen(proposer) == {own.pk}
    assert seen(robot) == {robots.pk}
    assert seen(owner) == {robots.pk}
    assert seen(a_person("auditor", "auditor")) == {own.pk, robots.pk}
    assert seen(a_person("closed", "operator", active=False)) == set()
    assert seen(ENGINE) == set()
    with pytest.raises(GateUnknown):
        selectors.context_of(by=proposer, gate_id=robots.pk)


def test_the_page_can_say_who_may_still_decide() -> None:
    proposer = a_person("proposer", "operator")
    done = a_person("done", "operator")
    a_person("free", "operator")
    a_person("both", "operator", "legal")
    a_person("legal-without-right", "legal")
    a_person("closed", "operator", active=False)
    gate = a_gate(Requirement("operator", 2), Requirement("legal", 1), by=proposer)
    gate = answer(gate, done).gate

    found = selectors.still_eligible(gate)

    assert [(s.group, s.count, s.have, s.people) for s in found] == [
        ("operator", 2, 1, ("both", "free")),
        ("legal", 1, 0, ("both",)),
    ]


def test_opening_costs_few_queries() -> None:
    subject = a_subject(Requirement("operator", 4))
    with CaptureQueriesContext(connection) as opening, transaction.atomic():
        approvals.open_gate(subject, at=NOON)

    assert len([q for q in opening if "SAVEPOINT" not in q["sql"]]) == 3
