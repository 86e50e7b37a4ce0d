"""Deciding on gates: what counts, and what is recorded of it."""

from datetime import timedelta

import pytest

from approvals import selectors
from approvals.domain.seats import Requirement
from approvals.models import Gate
from audit import selectors as record
from execfabric.identity.models import User
from execfabric.lib.ids import root_span
from tests.integration.approvals_builders import (
    LATER,
    NOON,
    OPERATOR_AND_LEGAL,
    STRANGER,
    a_gate,
    a_person,
    a_subject,
    answer,
    deactivate,
    holds_why,
    kinds,
    leaves,
    opened,
    status,
    told,
)

pytestmark = pytest.mark.django_db


@pytest.mark.promise("S3.66")
def test_a_request_says_what_is_asked_of_whom_and_why() -> None:
    a_person("operator-one", "operator")
    subject = a_subject()
    digest = subject.actual_digest()
    gate = opened(subject)

    [event] = record.events_after(subject.stream, 0)

    body = record.envelope(event)
    assert (body["traceId"], body["sessionId"]) == (
        subject.trace_id,
        root_span(subject.trace_id),
    )
    assert body["step"] == "publish"
    assert body["payload"] == {
        "gate": str(gate.pk),
        "kind": "step",
        "subject": str(subject.subject_id),
        "label": "Publish the report",
        "digest": digest.hex(),
        "rev": 1,
        "requirements": [{"group": "operator", "count": 1}],
        "excluded": [{"key": STRANGER.key, "why": "proposer"}],
        "reasons": ["Customers will see this."],
        "policies": [],
        "risk": "high",
        "expires_at": "2026-03-01T13:00:00.000000Z",
        "unmet": [],
    }


@pytest.mark.promise("S3.67")
def test_an_approval_is_recorded_with_who_when_what_and_by_which_way() -> None:
    operator = a_person("operator-one", "operator")
    gate = a_gate()

    recorded = answer(gate, operator, comment=" fine ", channel="cli")

    assert recorded.settled
    assert status(gate) == "approved"
    assert recorded.gate.settled_at == LATER
    assert recorded.gate.settled_reason == "Approved by operator-one."
    decided, approved = record.events_after(gate.stream, 1)
    assert record.envelope(decided)["payload"] == {
        "gate": str(gate.pk),
        "kind": "step",
        "voter": {"id": operator.key, "name": "operator-one"},
        "verdict": "approved",
        "digest": gate.digest_hex,
        "groups": ["operator"],
        "comment": "fine",
        "channel": "cli",
    }
    assert approved.kind == "gate.approved"
    assert (approved.actor, approved.at, approved.trace_id) == (
        operator.key,
        LATER,
        gate.trace_id,
    )


def test_one_rejection_settles_it_with_its_reason() -> None:
    first = a_person("operator-one", "operator")
    second = a_person("operator-two", "operator")
    gate = a_gate(Requirement("operator", 3))
    answer(gate, first)

    recorded = answer(gate, second, approve=False, comment="wrong month")

    assert recorded.settled
    assert recorded.gate.settled_reason == "wrong month"
    assert status(gate) == "rejected"
    assert kinds(gate) == [
        "gate.requested",
        "gate.decided",
        "gate.decided",
        "gate.rejected",
    ]


def test_a_gate_of_two_groups_waits_for_both() -> None:
    both = a_person("operator-and-legal", "operator", "legal")
    legal = a_person("legal-and-admin", "legal", "admin")
    gate = a_gate(*OPERATOR_AND_LEGAL)

    first = answer(gate, both)

    assert (first.settled, status(gate)) == (False, "partial")
    assert first.gate.settled_at is None
    second = answer(gate, legal)
    assert (second.settled, status(gate)) == (True, "approved")


def test_the_approval_record_says_who_when_why_for_what_and_what_is_missing() -> None:
    operator = a_person("operator-one", "operator")
    a_person("legal-one", "operator", "legal")
    gate = a_gate(*OPERATOR_AND_LEGAL)
    answer(gate, operator, comment="compared with last month")

    stored = Gate.objects.get(pk=gate.pk)
    [given] = selectors.decisions(stored)

    assert stored.status == "partial"
    assert (given.voter_name, given.approve, given.at) == ("operator-one", True, LATER)
    assert given.comment == "compared with last month"
    assert bytes(given.digest) == bytes(stored.digest)
    missing = [s for s in selectors.still_eligible(stored) if s.have < s.count]
    assert [(s.group, s.count - s.have, s.people) for s in missing] == [
        ("legal", 1, ("legal-one",))
    ]


def test_two_people_of_one_group_do_not_stand_in_for_the_other() -> None:
    gate = a_gate(*OPERATOR_AND_LEGAL)

    for name in ("operator-one", "operator-two"):
        answer(gate, a_person(name, "operator"))

    assert status(gate) == "partial"


def test_whoever_left_between_two_approvals_no_longer_counts() -> None:
    first = a_person("operator-one", "operator")
    gate = a_gate(Requirement("operator", 2))
    answer(gate, first)
    deactivate(first)

    assert not answer(gate, a_person("operator-two", "operator")).settled
    assert answer(gate, a_person("operator-three", "operator")).settled


def test_whoever_joined_a_group_later_did_not_decide_for_it() -> None:
    operator = a_person("operator-one", "operator")
    gate = a_gate(*OPERATOR_AND_LEGAL)
    a_person("legal-one", "legal", "operator")
    answer(gate, operator)
    leaves(operator, "operator")
    joined = User.objects.get(pk=operator.id)
    joined.groups.set(User.objects.get(username="legal-one").groups.all())

    answer(gate, a_person("operator-two", "operator"))

    assert status(gate) == "partial"


def test_the_same_answer_again_returns_the_first_and_writes_nothing() -> None:
    operator = a_person("operator-one", "operator")
    gate = a_gate()
    first = answer(gate, operator)

    again = answer(gate, operator, at=LATER + timedelta(hours=3))

    assert again.decision.pk == first.decision.pk
    assert not again.settled
    assert kinds(gate) == ["gate.requested", "gate.decided", "gate.approved"]


def test_a_decision_by_a_clock_that_is_behind_is_made_when_the_gate_opened() -> None:
    gate = a_gate()

    recorded = answer(gate, a_person("one", "operator"), at=NOON - timedelta(seconds=2))

    assert (recorded.settled, recorded.decision.at) == (True, NOON)
    assert holds_why(gate) == ""


@pytest.mark.promise("S2.26")
def test_decisions_keep_their_deciders_name_after_the_account_is_gone() -> None:
    operator = a_person("operator-one", "operator")
    gate = a_gate()
    answer(gate, operator, comment="looks right")

    User.objects.get(pk=operator.id).delete()

    [decision] = selectors.decisions(Gate.objects.get(pk=gate.pk))
    assert (decision.voter_key, decision.voter_name) == (operator.key, "operator-one")
    assert told(gate)[1][1]["voter"] == {"id": operator.key, "name": "operator-one"}
    assert record.verify_chain(gate.stream).broken is None
