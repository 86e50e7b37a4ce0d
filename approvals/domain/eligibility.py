"""Check who can decide on a gate."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from approvals.domain import seats
from approvals.domain.seats import Requirement
from approvals.errors import (
    AccountInactive,
    AgentOwner,
    EditedByYou,
    ExcludedFromGate,
    NotInGroup,
    OwnProposal,
)
from execfabric.identity.errors import AgentsCannotDecide, RightMissing
from execfabric.lib.actor import Actor, ActorKind
from execfabric.lib.refusal import Denied
from execfabric.lib.rights import RIGHTS, Right, Role


class Why(StrEnum):
    """Reasons why a person cannot decide; policies can add others."""

    PROPOSER = "proposer"
    EDITOR = "editor"
    AGENT_OWNER = "agent_owner"


@dataclass(frozen=True)
class Exclusion:
    key: str
    why: str

    def as_fact(self) -> dict[str, str]:
        return {"key": self.key, "why": str(self.why)}


DECIDING_ROLES = frozenset(role for role in Role if Right.DECIDE in RIGHTS[role])
REFUSALS: dict[str, type[Denied]] = {
    Why.PROPOSER: OwnProposal,
    Why.EDITOR: EditedByYou,
    Why.AGENT_OWNER: AgentOwner,
}
"""The refusal for each exclusion, in order of precedence."""


@dataclass(frozen=True)
class Standing:
    """An active person, with their current groups."""

    name: str
    groups: frozenset[str]

    @property
    def has_right(self) -> bool:
        return not self.groups.isdisjoint(DECIDING_ROLES)

    @property
    def speaks_for(self) -> frozenset[str]:
        """Return the groups that their decision counts for."""
        return self.groups if self.has_right else frozenset()


@dataclass(frozen=True)
class Unmet:
    """A group with fewer approvers than a gate requires."""

    group: str
    count: int
    have: int


def exclusions(
    *, proposer: Actor, editors: Iterable[Actor] = ()
) -> tuple[Exclusion, ...]:
    """List who cannot decide: proposer, editors, and the owners of their agents."""
    found = [Exclusion(proposer.key, Why.PROPOSER)]
    editors = list(editors)
    found += [Exclusion(editor.key, Why.EDITOR) for editor in editors]
    found += [
        Exclusion(actor.on_behalf_of, Why.AGENT_OWNER)
        for actor in (proposer, *editors)
        if actor.kind is ActorKind.AGENT
    ]
    return tuple(dict.fromkeys(found))


def may_decide(
    by: Actor,
    standing: Standing | None,
    *,
    requirements: Sequence[Requirement],
    excluded: Sequence[Exclusion],
) -> Denied | None:
    """Return the refusal for an actor, or None if they can decide.

    `standing` is None unless they are an active person.

    Exclusions are checked before rights, so that a proposer always gets the reason
    "own proposal".
    """
    if by.kind is not ActorKind.USER:
        return AgentsCannotDecide(actor=by.key)
    if standing is None:
        return AccountInactive(actor=by.key)
    if refusal := _exclusion(by.key, excluded):
        return refusal
    groups = sorted({requirement.group for requirement in requirements})
    if not standing.groups.intersection(groups):
        names = " or ".join(groups)
        return NotInGroup(
            f"Only members of {names} can decide. You are not a member.", groups=groups
        )
    return None if standing.has_right else RightMissing(right="decide", actor=by.key)


def unmet(
    requirements: Sequence[Requirement],
    people: Mapping[str, Collection[str]],
    excluded: Collection[str],
) -> list[Unmet]:
    """Return the groups that lack approvers even if everyone approved.

    `people` maps a person to the groups that they can decide for.
    """
    able = {key: groups for key, groups in people.items() if key not in excluded}
    seated = seats.seat(requirements, able)
    return [
        Unmet(group, count, len(seated[group]))
        for group, count in seats.capacities(requirements).items()
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
