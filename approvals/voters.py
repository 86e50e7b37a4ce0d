"""Find who can decide, by current accounts and groups."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from django.db.models import Q

from approvals.domain import eligibility
from approvals.domain.eligibility import Standing, Unmet
from approvals.domain.seats import Requirement
from approvals.domain.verdict import Ballot
from approvals.models import Decision
from execfabric.identity.models import User
from execfabric.lib.actor import Actor


def unmet(
    requirements: Sequence[Requirement], excluded: Collection[str]
) -> list[Unmet]:
    people = members({requirement.group for requirement in requirements})
    groups = {key: person.speaks_for for key, person in people.items()}
    return eligibility.unmet(requirements, groups, excluded)


def standing_of(keys: Iterable[str]) -> dict[str, Standing]:
    """Return the active people among these keys (`user:7`), with their groups."""
    return _standing(Q(pk__in=_ids(keys)))


def standing(by: Actor) -> Standing | None:
    """Return an actor if they are an active person."""
    return standing_of([by.key]).get(by.key)


def ballot(decision: Decision, people: dict[str, Standing]) -> Ballot:
    """Return a decision for the groups that its voter had then and still has.

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


def members(groups: Collection[str], others: Iterable[str] = ()) -> dict[str, Standing]:
    """Return the members of the groups, and the `others`, by key."""
    in_groups = User.objects.filter(groups__name__in=groups).values("pk")
    return _standing(Q(pk__in=in_groups) | Q(pk__in=_ids(others)))


def _ids(keys: Iterable[str]) -> list[str]:
    return [key.removeprefix("user:") for key in keys if key.startswith("user:")]


def _standing(who: Q) -> dict[str, Standing]:
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
