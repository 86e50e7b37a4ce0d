"""What proves an approval, as a table."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from approvals.domain.proof import SENTENCES, Approval, Flaw, Vote, unproven
from approvals.domain.seats import Requirement
from approvals.domain.verdict import Ballot

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LATER = NOON + timedelta(minutes=5)
OVER = NOON + timedelta(hours=1)
DIGEST, OTHER = b"\1" * 32, b"\2" * 32

GOOD = Approval(
    status="approved",
    digest=DIGEST,
    actual=DIGEST,
    requested_at=NOON,
    expires_at=OVER,
    requirements=(Requirement("operator", 1),),
    excluded=frozenset({"user:1"}),
)


def vote(
    voter="user:2", *, approve=True, groups=("operator",), digest=DIGEST, at=LATER
):
    """One decision on the gate."""
    return Vote(Ballot(voter, approve, frozenset(groups)), digest, at)


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
            {"actual": OTHER}, [vote()], DIGEST, LATER, Flaw.SUBJECT_TAMPERED,
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
    found = unproven(replace(GOOD, **changes), votes, digest=digest, at=at)

    assert (found.flaw if found else None) is flaw


def test_every_flaw_has_a_sentence() -> None:
    assert set(SENTENCES) == set(Flaw)
