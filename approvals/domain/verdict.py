"""Count the decisions on a gate."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from approvals.domain import seats
from approvals.domain.seats import Requirement
from approvals.domain.states import GateEvent


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
    is_one_enough: bool = False,
) -> GateEvent | None:
    """Return the event of a gate with these ballots, or None if no seat is filled.

    One rejection rejects, and each group needs its count of different people; if
    `is_one_enough`, one person of any group. Excluded people never count. Without
    requirements nothing is approved.
    """
    counted = [ballot for ballot in ballots if ballot.voter not in excluded]
    if any(not ballot.approve for ballot in counted):
        return GateEvent.REJECTED
    approvers = {ballot.voter: ballot.groups for ballot in counted}
    filled = seats.filled(requirements, approvers)
    if not filled:
        return None
    needed = 1 if is_one_enough else seats.capacities(requirements).total()
    complete = filled >= needed
    return GateEvent.APPROVED if complete else GateEvent.COUNTED


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
