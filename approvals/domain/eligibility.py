"""The people who can decide on a gate."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from approvals.domain import seats
from approvals.domain.seats import Requirement
from approvals.domain.subject import Exclusion, Why
from approvals.errors import (
    AccountInactive,
    AgentOwner,
    EditedByYou,
    ExcludedFromGate,
    NotInGroup,
    OwnProposal,
)
from execfabric.identity.errors import AgentsCannotDecide, RightMissing
from execfabric.lib.actor import ActorKind
from execfabric.lib.refusal import Denied

REFUSALS: dict[str, type[Denied]] = {
    Why.PROPOSER: OwnProposal,
    Why.EDITOR: EditedByYou,
    Why.AGENT_OWNER: AgentOwner,
}
"""The refusal for each exclusion, in order of precedence."""


@dataclass(frozen=True)
class Voter:
    """A user who wants to decide, with their current groups."""

    key: str
    kind: ActorKind
    active: bool
    groups: frozenset[str]
    has_right: bool
    """True if one of their roles has the right to decide."""


@dataclass(frozen=True)
class Unmet:
    """A group with fewer approvers than a gate requires."""

    group: str
    count: int
    have: int


def may_decide(
    voter: Voter,
    *,
    requirements: Sequence[Requirement],
    excluded: Sequence[Exclusion],
) -> Denied | None:
    """Return the refusal for this voter, or None if they can decide.

    Exclusions are checked before rights, so that a proposer always reads that it is
    their own proposal.
    """
    if voter.kind is not ActorKind.USER:
        return AgentsCannotDecide(actor=voter.key)
    if not voter.active:
        return AccountInactive(actor=voter.key)
    if refusal := _exclusion(voter.key, excluded):
        return refusal
    groups = sorted({requirement.group for requirement in requirements})
    if not voter.groups.intersection(groups):
        names = " or ".join(groups)
        return NotInGroup(
            f"Only members of {names} can decide. You are not a member.", groups=groups
        )
    return None if voter.has_right else RightMissing(right="decide", actor=voter.key)


def unmet(
    requirements: Sequence[Requirement],
    members: Mapping[str, Collection[str]],
    excluded: Collection[str],
) -> list[Unmet]:
    """Return the groups that lack approvers even if everyone approved.

    `members` maps a group to the keys of the people who can decide for it.
    """
    people: dict[str, set[str]] = {}
    for group, keys in members.items():
        for key in set(keys) - set(excluded):
            people.setdefault(key, set()).add(group)
    seated = seats.seat(requirements, people)
    counts: dict[str, int] = {}
    for requirement in requirements:
        counts[requirement.group] = counts.get(requirement.group, 0) + requirement.count
    return [
        Unmet(group, count, len(seated[group]))
        for group, count in counts.items()
        if len(seated[group]) < count
    ]


def _exclusion(key: str, excluded: Sequence[Exclusion]) -> Denied | None:
    reasons = {exclusion.why for exclusion in excluded if exclusion.key == key}
    for why, refusal in REFUSALS.items():
        if why in reasons:
            return refusal(actor=key)
    if reasons:
        return ExcludedFromGate(actor=key, why=sorted(reasons))
    return None
