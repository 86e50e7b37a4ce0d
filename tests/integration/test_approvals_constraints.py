"""What the database itself refuses, whoever writes to it."""

import itertools
from datetime import timedelta
from typing import cast

import psycopg
import pytest
from django.db import Error, connection, transaction

from approvals.domain.seats import Requirement
from approvals.domain.states import GATE, OPEN, GateStatus
from approvals.models import Decision, Gate, Policy
from execfabric.lib import canonical
from execfabric.lib.ids import uuid7
from tests.integration.approvals_builders import (
    DOMAIN,
    LATER,
    NOON,
    OVER,
    a_gate,
    a_person,
    answer,
)

pytestmark = pytest.mark.django_db


def gate_row(**columns) -> Gate:
    """Write a gate past the services."""
    body = b'{"rows":3}'
    known = {
        "subject_kind": "step",
        "subject_id": uuid7(),
        "context_id": uuid7(),
        "stream": "run/1",
        "subject": body,
        "digest_domain": DOMAIN,
        "digest": canonical.digest(DOMAIN, body),
        "requirements": [{"group": "operator", "count": 1}],
        "excluded": [],
        "reasons": [],
        "policy_versions": [],
        "rev": 1,
        "requested_at": NOON,
        "expires_at": OVER,
    }
    return Gate(**(known | columns))


def refused_by(write) -> str:
    """Return the violated constraint or the trigger's message; empty if written."""
    try:
        with transaction.atomic():
            write()
    except Error as error:
        found = cast("psycopg.Error", error.__cause__).diag
        return found.constraint_name or found.message_primary or str(error)
    return ""


@pytest.mark.parametrize("status", [pytest.param(s, id=str(s)) for s in GateStatus])
@pytest.mark.parametrize("settled_at", [None, LATER], ids=["no time", "a time"])
@pytest.mark.parametrize("reason", ["", "why"], ids=["no reason", "a reason"])
def test_a_gate_has_a_time_and_a_reason_if_and_only_if_it_is_settled(
    status, settled_at, reason
) -> None:
    row = gate_row(status=status, settled_at=settled_at, settled_reason=reason)

    refused = refused_by(row.save)

    settled = status not in OPEN
    if (settled_at is not None) != settled:
        assert refused == "gate_settled_at_iff_settled"
    elif bool(reason) != settled:
        assert refused == "gate_settled_reason_iff_settled"
    elif status != GateStatus.REQUESTED:
        assert refused == f"a gate opens with the status requested, not {status}"
    else:
        assert refused == ""


@pytest.mark.parametrize(
    ("columns", "constraint"),
    [
        pytest.param({}, "", id="a good row"),
        pytest.param({"status": "draft"}, "gate_status_is_known", id="unknown status"),
        pytest.param(
            {"digest": b"\0" * 32}, "gate_digest_is_of_its_subject", id="other digest"
        ),
        pytest.param(
            {"subject": b"{}"}, "gate_digest_is_of_its_subject", id="other subject"
        ),
        pytest.param(
            {"digest_domain": "x"}, "gate_digest_is_of_its_subject", id="other domain"
        ),
        pytest.param({"requirements": []}, "gate_asks_somebody", id="asks nobody"),
        pytest.param({"requirements": {}}, "gate_asks_somebody", id="not a list"),
        pytest.param(
            {"expires_at": NOON}, "gate_expires_after_it_was_requested", id="no time"
        ),
    ],
)
def test_a_gate_that_breaks_a_rule_is_not_written(columns, constraint) -> None:
    assert refused_by(gate_row(**columns).save) == constraint
    assert Gate.objects.exists() is (constraint == "")


def test_a_subject_has_one_open_gate_and_counts_its_gates() -> None:
    first = gate_row()
    first.save()

    again = gate_row(subject_id=first.subject_id, rev=2)
    assert refused_by(again.save) == "one_open_gate_per_subject"
    Gate.objects.filter(pk=first.pk).update(
        status="superseded", settled_at=LATER, settled_reason="changed"
    )
    same_rev = gate_row(subject_id=first.subject_id)
    assert refused_by(same_rev.save) == "gate_rev_counts_per_subject"
    assert (
        refused_by(gate_row(subject_id=first.subject_id, subject_kind="run").save) == ""
    )


@pytest.mark.parametrize(
    ("source", "target"),
    [
        pytest.param(source, target, id=f"{source} to {target}")
        for source, target in itertools.product(GateStatus, GateStatus)
    ],
)
def test_the_database_allows_exactly_the_moves_of_the_table(source, target) -> None:
    gate = a_gate_that_is(source)
    after = (None, "") if target in OPEN else (LATER, "why")

    refused = refused_by(
        lambda: Gate.objects.filter(pk=gate.pk).update(
            status=target, settled_at=after[0], settled_reason=after[1]
        )
    )

    legal = {(a, b) for a, _, b in GATE.rows} | {(s, s) for s in GateStatus}
    if (source, target) in legal:
        assert refused == ""
    else:
        assert refused == f"a gate that is {source} cannot become {target}"


def a_gate_that_is(status: GateStatus) -> Gate:
    """Create a gate with an approval and a rejection."""
    gate = gate_row()
    gate.save()
    for number, approve in enumerate((True, False)):
        a_decision(gate, approve=approve, voter_key=f"user:{number}").save()
    if status != GateStatus.REQUESTED:
        settled = (
            {} if status in OPEN else {"settled_at": LATER, "settled_reason": "why"}
        )
        Gate.objects.filter(pk=gate.pk).update(status=status, **settled)
    return gate


def a_decision(gate: Gate, **columns) -> Decision:
    """Write a decision past the services."""
    known = {
        "gate": gate,
        "approve": True,
        "voter_key": "user:8",
        "voter_name": "eight",
        "groups": [],
        "digest": gate.digest,
        "comment": "" if columns.get("approve", True) else "why",
        "channel": "page",
        "at": LATER,
    }
    return Decision(**(known | columns))


@pytest.mark.parametrize("status", ["approved", "partial", "rejected"])
def test_a_gate_is_not_settled_without_the_decisions_for_it(status) -> None:
    gate = gate_row(requirements=[{"group": "operator", "count": 2}])
    gate.save()
    if status == "approved":
        a_decision(gate).save()
    settled = (None, "") if status == "partial" else (LATER, "why")

    refused = refused_by(
        lambda: Gate.objects.filter(pk=gate.pk).update(
            status=status, settled_at=settled[0], settled_reason=settled[1]
        )
    )

    assert refused == f"a gate cannot become {status} without the decisions for it"


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        pytest.param({}, "", id="a good row"),
        pytest.param(
            {"digest": b"\1" * 32},
            "a decision names the digest of its gate",
            id="other content",
        ),
        pytest.param(
            {"at": NOON - timedelta(seconds=1)},
            "a decision is made while its gate is open",
            id="too early",
        ),
        pytest.param(
            {"at": OVER}, "a decision is made while its gate is open", id="too late"
        ),
        pytest.param(
            {"voter_key": "user:999999"},
            "the gate excludes this voter",
            id="the proposer",
        ),
    ],
)
def test_a_decision_that_does_not_fit_its_gate_is_not_written(
    columns, sentence
) -> None:
    assert refused_by(a_decision(a_gate(), **columns).save) == sentence


def test_a_settled_gate_takes_no_decision() -> None:
    gate = a_gate_that_is(GateStatus.REJECTED)

    assert (
        refused_by(a_decision(gate).save) == "a gate that is rejected takes no decision"
    )


FIXED = [
    field.attname
    for field in Gate._meta.fields
    if field.attname not in {"status", "settled_at", "settled_reason"}
]
OTHER = {
    "UUIDField": "gen_random_uuid()",
    "CharField": "'other'",
    "TextField": "'other'",
    "BinaryField": "sha256('other')",
    "JSONField": '\'[{"group": "proposer", "count": 1}]\'',
    "PositiveIntegerField": "99",
    "DateTimeField": "now()",
}


@pytest.mark.parametrize("column", FIXED)
def test_no_statement_changes_what_a_gate_asks(column) -> None:
    gate = a_gate()
    value = OTHER[Gate._meta.get_field(column).get_internal_type()]

    refused = refused_by(lambda: run(f"UPDATE approvals_gate SET {column} = {value}"))

    assert refused == "what a gate asks never changes"
    stored = Gate.objects.values_list(column, flat=True).get(pk=gate.pk)
    assert stored == getattr(gate, column)


@pytest.mark.parametrize(
    ("sql", "sentence"),
    [
        pytest.param(
            "DELETE FROM approvals_gate", "a gate is never deleted", id="delete a gate"
        ),
        pytest.param(
            "UPDATE approvals_gate SET settled_at = now()",
            "when and why a gate was settled never changes",
            id="move the time of settling",
        ),
        pytest.param(
            "UPDATE approvals_gate SET settled_reason = 'other'",
            "when and why a gate was settled never changes",
            id="change the reason",
        ),
        pytest.param(
            "DELETE FROM approvals_decision",
            "a decision is never changed or deleted",
            id="delete a decision",
        ),
        pytest.param(
            "UPDATE approvals_decision SET approve = NOT approve",
            "a decision is never changed or deleted",
            id="turn a decision round",
        ),
        pytest.param(
            "UPDATE approvals_decision SET voter_name = 'other'",
            "a decision is never changed or deleted",
            id="rename a decider",
        ),
    ],
)
def test_no_statement_rewrites_what_people_answered(sql, sentence) -> None:
    answer(a_gate(), a_person("one", "operator"))

    assert refused_by(lambda: run(sql)) == sentence


@pytest.mark.parametrize(
    ("columns", "constraint"),
    [
        pytest.param({}, "", id="a good row"),
        pytest.param(
            {"approve": False}, "rejection_has_a_comment", id="no without a comment"
        ),
        pytest.param({"approve": False, "comment": "why"}, "", id="no with a comment"),
        pytest.param({"voter_key": "agent:3"}, "only_people_decide", id="an agent"),
        pytest.param({"voter_key": "user:7"}, "one_decision_per_voter", id="twice"),
    ],
)
def test_a_decision_that_breaks_a_rule_is_not_written(columns, constraint) -> None:
    gate = a_gate(Requirement("operator", 2))
    a_decision(gate, voter_key="user:7").save()

    written = a_decision(gate, **({"comment": ""} | columns))

    assert refused_by(written.save) == constraint


@pytest.mark.parametrize(
    ("sql", "sentence"),
    [
        pytest.param(
            "DELETE FROM approvals_policy", "a policy version is never", id="delete"
        ),
        pytest.param(
            "UPDATE approvals_policy SET requirements = '[{}]'",
            "a policy version never changes",
            id="change",
        ),
        pytest.param(
            "UPDATE approvals_policy SET retired_at = NULL",
            "a policy version never changes",
            id="put back into force",
        ),
    ],
)
def test_no_statement_changes_a_published_policy(sql, sentence) -> None:
    Policy.objects.create(
        name="publishing",
        version=1,
        order=1,
        requirements=[{"group": "operator", "count": 1}],
        reason="Customers see it.",
        published_at=NOON,
        published_by_key="user:1",
        published_by_name="admin",
    )
    Policy.objects.update(retired_at=LATER)

    assert refused_by(lambda: run(sql)).startswith(sentence)


def run(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)
