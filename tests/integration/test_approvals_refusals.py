"""Refused decisions: by whom, of what content, when, and what is recorded of it."""

import pytest
from django.db import transaction

from approvals.domain.eligibility import exclusions
from approvals.domain.seats import Requirement
from approvals.errors import (
    AlreadyDecided,
    CommentRequired,
    GateUnknown,
    StaleDigest,
    Unsatisfiable,
)
from approvals.models import Decision
from approvals.services import decisions
from approvals.services import gates as approvals
from audit import selectors as record
from execfabric.lib.actor import Actor, ActorKind
from execfabric.lib.ids import uuid7
from execfabric.lib.refusal import Refusal
from tests.integration.approvals_builders import (
    ENGINE,
    LATER,
    OPERATOR_AND_LEGAL,
    OVER,
    a_gate,
    a_person,
    an_agent,
    answer,
    expired,
    kinds,
    status,
    superseded,
    told,
    withdrawn,
)

pytestmark = pytest.mark.django_db
NOBODY = Actor(ActorKind.USER, "888888", "no-account")


ROUTES = [
    pytest.param("proposer", "approval.own_proposal", id="proposer"),
    pytest.param("editor", "approval.edited_by_you", id="editor"),
    pytest.param("owner", "approval.agent_owner", id="owner of the agent"),
    pytest.param("agent", "auth.agents_cannot_decide", id="agent that edited"),
    pytest.param("other_agent", "auth.agents_cannot_decide", id="another agent"),
    pytest.param("product", "auth.agents_cannot_decide", id="the product itself"),
    pytest.param("auditor", "approval.not_in_group", id="another group"),
    pytest.param("closed", "approval.account_inactive", id="deactivated account"),
    pytest.param("nobody", "approval.account_inactive", id="account that is not there"),
    pytest.param("legal", "auth.right_missing", id="asked group without the right"),
]


@pytest.fixture
def cast():
    """Everybody who must not decide on the gate that comes with them."""
    owner = a_person("owner", "operator")
    people = {
        "proposer": a_person("proposer", "operator", "admin"),
        "editor": a_person("editor", "operator"),
        "owner": owner,
        "agent": an_agent("robot", owner),
        "other_agent": an_agent("other-robot", a_person("other-owner", "admin")),
        "product": ENGINE,
        "auditor": a_person("auditor", "auditor"),
        "closed": a_person("closed", "operator", active=False),
        "nobody": NOBODY,
        "legal": a_person("legal", "legal"),
    }
    excluded = exclusions(
        proposer=people["proposer"], editors=[people["editor"], people["agent"]]
    )
    return people | {"gate": a_gate(*OPERATOR_AND_LEGAL, excluded=excluded)}


@pytest.mark.parametrize(("who", "code"), ROUTES)
@pytest.mark.parametrize("approve", [True, False], ids=["approve", "reject"])
def test_who_may_not_decide_is_refused_by_name_and_recorded(cast, who, code, approve):
    gate, by = cast["gate"], cast[who]

    with pytest.raises(Refusal) as refused:
        answer(gate, by, approve=approve, comment="because")
    decisions.record_refusal(gate_id=gate.pk, by=by, error=refused.value, at=LATER)

    assert refused.value.code == code
    assert not Decision.objects.exists()
    assert status(gate) == "requested"
    kind, payload = told(gate)[-1]
    assert kind == "gate.decision_refused"
    assert payload["code"] == code
    assert record.events_after(gate.stream, 1)[0].actor == by.key


@pytest.mark.parametrize(
    "said",
    [
        pytest.param({"digest": "00"}, id="stale digest"),
        pytest.param({"at": OVER}, id="expired"),
        pytest.param({"approve": False, "comment": ""}, id="no comment"),
    ],
)
def test_a_proposer_is_told_so_whatever_else_is_wrong(cast, said) -> None:
    with pytest.raises(Refusal) as refused:
        answer(cast["gate"], cast["proposer"], **said)

    assert refused.value.code == "approval.own_proposal"


def test_a_refusal_about_no_gate_at_all_is_recorded_too() -> None:
    operator, missing = a_person("operator-one", "operator"), uuid7()
    with pytest.raises(GateUnknown) as refused, transaction.atomic():
        decisions.record_decision(
            gate_id=missing,
            by=operator,
            approve=True,
            digest="",
            comment="",
            channel="api",
            proposer_active=True,
            at=LATER,
        )

    decisions.record_refusal(
        gate_id=missing, by=operator, error=refused.value, at=LATER
    )

    [event] = record.events_after("approvals", 0)
    assert record.envelope(event)["payload"]["gate"] == str(missing)


@pytest.mark.parametrize(
    "digest",
    [
        pytest.param("0" * 64, id="of other content"),
        pytest.param("", id="none"),
        pytest.param("a'; --\0\ud800", id="no digest at all"),
    ],
)
def test_an_approval_of_other_content_is_refused_with_both_digests(digest) -> None:
    operator = a_person("operator-one", "operator")
    gate = a_gate()

    with pytest.raises(StaleDigest) as refused:
        answer(gate, operator, digest=digest)
    decisions.record_refusal(
        gate_id=gate.pk, by=operator, error=refused.value, at=LATER
    )

    assert refused.value.details["digest"] == gate.digest_hex
    seen = digest if digest == "0" * 64 else ""
    assert told(gate)[-1][1]["details"]["seen"] == seen
    assert status(gate) == "requested"


@pytest.mark.parametrize(
    ("comment", "code"),
    [
        pytest.param("", "approval.comment_required", id="none"),
        pytest.param(" \n\t", "approval.comment_required", id="blank"),
        pytest.param("\u200b\u2060", "approval.comment_required", id="invisible"),
        pytest.param("a\0b", "approval.comment_unreadable", id="NUL"),
        pytest.param("a\ud800b", "approval.comment_unreadable", id="lone surrogate"),
        pytest.param("a" * 10_001, "approval.comment_unreadable", id="endless"),
    ],
)
def test_a_rejection_needs_a_comment_that_can_be_recorded(comment, code) -> None:
    gate = a_gate()

    with pytest.raises(Refusal) as refused:
        answer(gate, a_person("one", "operator"), approve=False, comment=comment)

    assert refused.value.code == code
    assert status(gate) == "requested"


@pytest.mark.parametrize(
    "said",
    [
        pytest.param({"approve": False, "comment": "no"}, id="other verdict"),
        pytest.param({"digest": "0" * 64}, id="other digest"),
    ],
)
def test_another_answer_of_the_same_person_is_refused(said) -> None:
    operator = a_person("operator-one", "operator")
    gate = a_gate(Requirement("operator", 2))
    answer(gate, operator)

    with pytest.raises(AlreadyDecided):
        answer(gate, operator, **said)

    assert status(gate) == "partial"
    assert Decision.objects.count() == 1


@pytest.mark.parametrize(
    ("end", "code"),
    [
        pytest.param("approve", "approval.already_settled", id="approved"),
        pytest.param("reject", "approval.already_settled", id="rejected"),
        pytest.param("expire", "approval.expired", id="expired"),
        pytest.param("time", "approval.expired", id="expired, keeper not there yet"),
        pytest.param("supersede", "approval.superseded", id="superseded"),
        pytest.param("withdraw", "approval.superseded", id="withdrawn"),
    ],
)
def test_a_settled_gate_takes_no_more_decisions(end, code) -> None:
    first = a_person("operator-one", "operator")
    gate = a_gate()
    {
        "approve": lambda: answer(gate, first),
        "reject": lambda: answer(gate, first, approve=False, comment="no"),
        "expire": lambda: expired(gate),
        "time": lambda: None,
        "supersede": lambda: superseded(gate),
        "withdraw": lambda: withdrawn(gate),
    }[end]()
    before = kinds(gate)

    with pytest.raises(Refusal) as refused:
        answer(gate, a_person("two", "operator"), at=OVER if end == "time" else LATER)

    assert refused.value.code == code
    assert kinds(gate) == before


def test_a_rejection_without_comment_leaves_no_trace_of_a_decision() -> None:
    gate = a_gate()

    with pytest.raises(CommentRequired):
        answer(gate, a_person("one", "operator"), approve=False)

    assert kinds(gate) == ["gate.requested"]
    assert not Decision.objects.exists()


def test_what_nobody_could_approve_is_refused_with_the_groups_that_are_short() -> None:
    proposer = a_person("proposer", "operator")
    a_person("legal-without-right", "legal")

    with pytest.raises(Unsatisfiable) as refused:
        approvals.require_satisfiable(
            requirements=OPERATOR_AND_LEGAL, excluded=exclusions(proposer=proposer)
        )

    assert refused.value.details["unmet"] == [
        {"group": "operator", "count": 1, "have": 0},
        {"group": "legal", "count": 1, "have": 0},
    ]
    a_person("operator-two", "operator")
    a_person("legal-two", "operator", "legal")
    approvals.require_satisfiable(
        requirements=OPERATOR_AND_LEGAL, excluded=exclusions(proposer=proposer)
    )


def test_refusals_that_repeat_do_not_flood_the_record(cast):
    gate, by = cast["gate"], cast["auditor"]

    for _ in range(40):
        decisions.record_refusal(
            gate_id=gate.pk, by=by, error=CommentRequired(), at=LATER
        )

    refused = [fact for kind, fact in told(gate) if kind == "gate.decision_refused"]
    assert [fact["attempts"] for fact in refused] == [*range(1, 11), 16, 32]
