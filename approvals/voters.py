"""The people who can decide, by their current accounts and groups."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Q

from approvals.domain import eligibility
from approvals.domain.eligibility import Unmet, Voter
from approvals.domain.seats import Requirement
from approvals.domain.verdict import Ballot
from approvals.models import Decision
from execfabric.identity.models import User
from execfabric.lib.actor import Actor, ActorKind
from execfabric.lib.rights import RIGHTS, Right, Role

DECIDING_ROLES = frozenset(role for role in Role if Right.DECIDE in RIGHTS[role])


@dataclass(frozen=True)
class Standing:
    """The name and the current groups of an active person."""

    name: str
    groups: frozenset[str]

    @property
    def has_right(self) -> bool:
        """Return True if one of their roles has the right to decide."""
        return not self.groups.isdisjoint(DECIDING_ROLES)

    @property
    def speaks_for(self) -> frozenset[str]:
        """Return the groups that their decision counts for."""
        return self.groups if self.has_right else frozenset()


def unmet(
    requirements: Sequence[Requirement], excluded: Collection[str]
) -> list[Unmet]:
    """Return the groups that currently lack approvers."""
    members = deciders({requirement.group for requirement in requirements})
    return eligibility.unmet(requirements, members, excluded)


def deciders(groups: Collection[str]) -> dict[str, set[str]]:
    """Return, per group, the keys of its active members who can decide."""
    found: dict[str, set[str]] = {group: set() for group in groups}
    for key, person in members(groups).items():
        for group in person.speaks_for.intersection(groups):
            found[group].add(key)
    return found


def standing_of(keys: Iterable[str]) -> dict[str, Standing]:
    """Return the active people among these keys (`user:7`), with their groups."""
    ids = _ids(keys)
    return _standing(Q(pk__in=ids)) if ids else {}


def voter(by: Actor) -> Voter:
    """Return an actor as a voter; agents have no groups."""
    people = standing_of([by.key]) if by.kind is ActorKind.USER else {}
    return voter_among(people, by)


def signed_in(user: User) -> Voter:
    """Return the signed-in user as a voter, from groups that are already read."""
    actor = user.actor()
    return voter_among({actor.key: Standing(actor.name, user.group_names)}, actor)


def voter_among(people: Mapping[str, Standing], by: Actor) -> Voter:
    """Return an actor as a voter, inactive if not among `people`."""
    person = people.get(by.key)
    return Voter(
        key=by.key,
        kind=by.kind,
        active=person is not None,
        groups=person.groups if person else frozenset(),
        has_right=person.has_right if person else False,
    )


def ballot(decision: Decision, people: dict[str, Standing]) -> Ballot:
    """Return a decision as it counts now: for groups its voter had then and has now.

    It no longer counts if the voter left the group, lost the right or was deactivated,
    and it does not count for groups that they joined later.
    """
    person = people.get(decision.voter_key)
    now = person.speaks_for if person else frozenset()
    return Ballot(
        voter=decision.voter_key,
        approve=decision.approve,
        groups=now.intersection(decision.groups),
    )


def voters(decisions: Iterable[Decision]) -> set[str]:
    """Return the keys of the people who decided."""
    return {decision.voter_key for decision in decisions}


def members(groups: Collection[str], others: Iterable[str] = ()) -> dict[str, Standing]:
    """Return the members of the groups, and the `others`, by key."""
    in_groups = User.objects.filter(groups__name__in=groups).values("pk")
    return _standing(Q(pk__in=in_groups) | Q(pk__in=_ids(others)))


def _ids(keys: Iterable[str]) -> list[str]:
    return [key.removeprefix("user:") for key in keys if key.startswith("user:")]


def _standing(who: Q) -> dict[str, Standing]:
    """Return the active people that match, with their groups, in one query."""
    return standing_from(
        User.objects.filter(who, is_active=True).values_list(
            "pk", "username", "groups__name"
        )
    )


def standing_from(rows: Iterable[tuple[Any, ...]]) -> dict[str, Standing]:
    names: dict[str, str] = {}
    groups: dict[str, set[str]] = {}
    for pk, name, group in rows:
        key = f"user:{pk}"
        names[key] = name
        groups.setdefault(key, set()).update([group] if group else [])
    return {key: Standing(names[key], frozenset(groups[key])) for key in names}
