"""The result of the decisions on a gate."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from approvals.domain import seats
from approvals.domain.seats import Requirement


class GateResult(StrEnum):
    """The result of all ballots."""

    UNDECIDED = "undecided"  # no seat is filled
    PARTIAL = "partial"  # some seats are filled
    APPROVED = "approved"  # all seats are filled, each by a different person
    REJECTED = "rejected"  # one person rejected


@dataclass(frozen=True)
class Ballot:
    """The decision of one person, and the groups that it counts for."""

    voter: str
    approve: bool
    groups: frozenset[str]


def of(
    ballots: Sequence[Ballot],
    *,
    requirements: Sequence[Requirement],
    excluded: Collection[str],
) -> GateResult:
    """Count the ballots: one rejection rejects, and each group needs its count.

    Excluded people never count. Without requirements nothing is approved.
    """
    counted = [ballot for ballot in ballots if ballot.voter not in excluded]
    if any(not ballot.approve for ballot in counted):
        return GateResult.REJECTED
    approvers = {ballot.voter: ballot.groups for ballot in counted}
    filled = seats.filled(requirements, approvers)
    if not filled:
        return GateResult.UNDECIDED
    complete = filled == seats.wanted(requirements)
    return GateResult.APPROVED if complete else GateResult.PARTIAL


def would_count(
    groups: frozenset[str],
    ballots: Sequence[Ballot],
    *,
    requirements: Sequence[Requirement],
    excluded: Collection[str],
) -> bool:
    """Return True if an approval by a member of these groups would fill a seat."""
    approvers = {b.voter: b.groups for b in ballots if b.voter not in excluded}
    before = seats.filled(requirements, approvers)
    return seats.filled(requirements, {**approvers, "": groups}) > before
