"""The seats of a gate: each person fills at most one."""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from approvals.errors import RequirementInvalid


@dataclass(frozen=True)
class Requirement:
    """A number of different approvers from one group."""

    group: str
    count: int = 1

    def __post_init__(self) -> None:
        if not self.group.strip() or self.count < 1:
            raise RequirementInvalid(group=self.group, count=self.count)

    def as_fact(self) -> dict[str, object]:
        return {"group": self.group, "count": self.count}


def merge(*demanded: Iterable[Requirement]) -> tuple[Requirement, ...]:
    """Merge lists of requirements: the greatest count of each group."""
    counts: dict[str, int] = {}
    for requirement in (one for many in demanded for one in many):
        known = counts.get(requirement.group, 0)
        counts[requirement.group] = max(known, requirement.count)
    return tuple(Requirement(group, count) for group, count in counts.items())


def capacities(requirements: Iterable[Requirement]) -> Counter[str]:
    """Return the number of seats of each group."""
    counts = Counter[str]()
    for requirement in requirements:
        counts[requirement.group] += requirement.count
    return counts


def seat(
    requirements: Sequence[Requirement], people: Mapping[str, Collection[str]]
) -> dict[str, frozenset[str]]:
    """Seat as many people as possible; return the people of each group.

    `people` maps a person to their groups. A person in two groups fills one seat, and
    is moved if that makes room for another (augmenting paths, so the result is a
    maximum in any order).
    """
    capacity = capacities(requirements)
    seated: dict[str, set[str]] = {group: set() for group in capacity}
    for person in sorted(people):
        _place(person, people, capacity, seated, tried=set())
    return {group: frozenset(names) for group, names in seated.items()}


def filled(
    requirements: Sequence[Requirement], people: Mapping[str, Collection[str]]
) -> int:
    return sum(len(names) for names in seat(requirements, people).values())


def _place(
    person: str,
    people: Mapping[str, Collection[str]],
    capacity: Mapping[str, int],
    seated: dict[str, set[str]],
    tried: set[str],
) -> bool:
    """Seat one person, moving others if needed; recurses once per group at most."""
    for group in sorted(capacity.keys() & set(people[person])):
        if group in tried:
            continue
        tried.add(group)
        if len(seated[group]) < capacity[group]:
            seated[group].add(person)
            return True
        for other in sorted(seated[group]):
            if _place(other, people, capacity, seated, tried):
                seated[group].remove(other)
                seated[group].add(person)
                return True
    return False
