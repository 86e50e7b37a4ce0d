"""What proves an approval, as a table."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from approvals.domain.eligibility import Standing
from approvals.models import Decision, Gate
from approvals.proof import SENTENCES, Flaw, Held
from execfabric.lib import canonical

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LATER = NOON + timedelta(minutes=5)
OVER = NOON + timedelta(hours=1)
DIGEST, OTHER = canonical.digest("test/v1", b"{}"), b"\2" * 32
PEOPLE = {f"user:{n}": Standing("voter", frozenset({"operator"})) for n in (1, 2, 3)}


def a_gate(**changes) -> Gate:
    """Build an approved gate of which one fact may differ."""
    known: dict[str, Any] = {
        "status": "approved",
        "digest": DIGEST,
        "digest_domain": "test/v1",
        "subject": b"{}",
        "requested_at": NOON,
        "expires_at": OVER,
        "requirements": [{"group": "operator", "count": 1}],
        "excluded": [{"key": "user:1", "why": "proposer"}],
    }
    return Gate(**(known | changes))


def vote(
    voter="user:2", *, approve=True, groups=("operator",), digest=DIGEST, at=LATER
) -> Decision:
    """Build one decision on the gate."""
    return Decision(
        voter_key=voter, approve=approve, groups=list(groups), digest=digest, at=at
    )


@pytest.mark.parametrize(
    ("changes", "votes", "digest", "at", "flaw"),
    [
        pytest.param({}, [vote()], DIGEST, LATER, None, id="proven"),
        pytest.param(
            {"status": "partial"}, [vote()], DIGEST, LATER, Flaw.NOT_APPROVED,
            id="status is not approved",
        ),
        pytest.param({}, [vote()], DIGEST, OVER, Flaw.EXPIRED, id="at its expiry"),
        pytest.param(
            {}, [vote()], DIGEST, OVER - timedelta(microseconds=1), None,
            id="just before its expiry",
        ),
        pytest.param(
            {"subject": b"{ }"}, [vote()], DIGEST, LATER, Flaw.SUBJECT_TAMPERED,
            id="stored content changed",
        ),
        pytest.param({}, [vote()], OTHER, LATER, Flaw.DIGEST_DIFFERS, id="other content"),
        pytest.param(
            {}, [vote(digest=OTHER)], DIGEST, LATER, Flaw.DECISION_DIGEST_DIFFERS,
            id="decided on other content",
        ),
        pytest.param(
            {}, [vote(at=NOON - timedelta(microseconds=1))], DIGEST, LATER,
            Flaw.DECIDED_OUT_OF_TIME, id="decided before it opened",
        ),
        pytest.param({}, [vote(at=NOON)], DIGEST, LATER, None, id="decided at once"),
        pytest.param(
            {}, [vote(at=OVER)], DIGEST, LATER, Flaw.DECIDED_OUT_OF_TIME,
            id="decided after its expiry",
        ),
        pytest.param({}, [], DIGEST, LATER, Flaw.APPROVERS_CHANGED, id="no decision"),
        pytest.param(
            {}, [vote(groups=())], DIGEST, LATER, Flaw.APPROVERS_CHANGED,
            id="approver left the group",
        ),
        pytest.param(
            {}, [vote("user:1")], DIGEST, LATER, Flaw.APPROVERS_CHANGED,
            id="approver is excluded",
        ),
        pytest.param(
            {}, [vote(), vote("user:3", approve=False)], DIGEST, LATER,
            Flaw.APPROVERS_CHANGED, id="one rejection",
        ),
    ],
)  # fmt: skip
def test_an_approval_holds_only_if_its_decisions_prove_it(
    changes, votes, digest, at, flaw
) -> None:
    found = Held(a_gate(**changes), votes, PEOPLE).unproven(digest=digest, at=at)

    assert (found.flaw if found else None) is flaw


def test_every_flaw_has_a_sentence() -> None:
    assert set(SENTENCES) == set(Flaw)
