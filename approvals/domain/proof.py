"""Prove an approval from its decisions.

A gate's status is a claim. Before anything runs, the claim is checked against who
decided, when, on which content, and whether they may still decide.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from approvals.domain import verdict
from approvals.domain.seats import Requirement
from approvals.domain.states import GateStatus
from approvals.domain.verdict import Ballot, GateResult


class Flaw(StrEnum):
    """The reason why an approval does not hold."""

    NOT_APPROVED = "not_approved"
    EXPIRED = "expired"
    SUBJECT_TAMPERED = "subject_tampered"
    DIGEST_DIFFERS = "digest_differs"
    DECISION_DIGEST_DIFFERS = "decision_digest_differs"
    DECIDED_OUT_OF_TIME = "decided_out_of_time"
    APPROVERS_CHANGED = "approvers_changed"


SENTENCES: dict[Flaw, str] = {
    Flaw.NOT_APPROVED: "The gate is not approved.",
    Flaw.EXPIRED: "The approval has expired.",
    Flaw.SUBJECT_TAMPERED: "The stored content of the gate was changed.",
    Flaw.DIGEST_DIFFERS: "The approval covers other content.",
    Flaw.DECISION_DIGEST_DIFFERS: "A decision was made on other content.",
    Flaw.DECIDED_OUT_OF_TIME: "A decision was made outside the gate's time.",
    Flaw.APPROVERS_CHANGED: (
        "The recorded decisions of people who may still decide are not enough."
    ),
}


@dataclass(frozen=True)
class Approval:
    """What a gate's row claims."""

    status: str
    digest: bytes
    """The stored digest."""
    actual: bytes
    """The digest computed from the stored content."""
    requested_at: datetime
    expires_at: datetime
    requirements: Sequence[Requirement]
    excluded: Collection[str]


@dataclass(frozen=True)
class Vote:
    """One stored decision as it counts now."""

    ballot: Ballot
    digest: bytes
    at: datetime


@dataclass(frozen=True)
class Unproven:
    """A flaw, and the digest that was found where another was expected."""

    flaw: Flaw
    found: bytes

    @property
    def sentence(self) -> str:
        """The flaw in words."""
        return SENTENCES[self.flaw]


def unproven(
    approval: Approval, votes: Sequence[Vote], *, digest: bytes, at: datetime
) -> Unproven | None:
    """Return why the approval does not cover `digest` at this moment, or None."""
    return (
        _gate_flaw(approval, digest=digest, at=at)
        or _vote_flaw(approval, votes)
        or _sum_flaw(approval, votes)
    )


def _gate_flaw(approval: Approval, *, digest: bytes, at: datetime) -> Unproven | None:
    if approval.status != GateStatus.APPROVED:
        return Unproven(Flaw.NOT_APPROVED, digest)
    if at >= approval.expires_at:
        return Unproven(Flaw.EXPIRED, digest)
    if approval.actual != approval.digest:
        return Unproven(Flaw.SUBJECT_TAMPERED, approval.actual)
    if digest != approval.digest:
        return Unproven(Flaw.DIGEST_DIFFERS, digest)
    return None


def _vote_flaw(approval: Approval, votes: Sequence[Vote]) -> Unproven | None:
    for vote in votes:
        if vote.digest != approval.digest:
            return Unproven(Flaw.DECISION_DIGEST_DIFFERS, vote.digest)
        if not approval.requested_at <= vote.at < approval.expires_at:
            return Unproven(Flaw.DECIDED_OUT_OF_TIME, approval.digest)
    return None


def _sum_flaw(approval: Approval, votes: Sequence[Vote]) -> Unproven | None:
    total = verdict.of(
        [vote.ballot for vote in votes],
        requirements=approval.requirements,
        excluded=approval.excluded,
    )
    if total is GateResult.APPROVED:
        return None
    return Unproven(Flaw.APPROVERS_CHANGED, approval.digest)
