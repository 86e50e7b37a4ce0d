"""Who may decide on a gate, and whether anybody could."""

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
"""In order of precedence: whoever proposed and edited is told that they proposed."""


@dataclass(frozen=True)
class Voter:
    """Somebody who wants to decide, as they stand now."""

    key: str
    kind: ActorKind
    active: bool
    groups: frozenset[str]
    has_right: bool
    """Whether one of their roles may decide at all."""


@dataclass(frozen=True)
class Unmet:
    """A group that cannot give what is asked of it."""

    group: str
    count: int
    have: int


def may_decide(
    voter: Voter,
    *,
    requirements: Sequence[Requirement],
    excluded: Sequence[Exclusion],
) -> Denied | None:
    """The refusal for this voter, or None.

    Who somebody is comes before what they may do, so a proposer is always told that
    it is their own proposal.
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
    """The groups whose seats could not all be filled, even if everybody approved.

    `members` maps a group to the keys of the people who may decide for it.
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
