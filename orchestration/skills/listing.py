"""The list of skills: search, facets and their counts."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from execfabric.lib.actor import Actor
from execfabric.lib.risk import highest
from orchestration.skills import selectors
from orchestration.skills.domain.contract import SkillContract
from orchestration.skills.domain.search import Match, search
from orchestration.skills.models import Skill

FACETS = ("domain", "state", "source")


@dataclass(frozen=True)
class SkillLine:
    """A skill in the list."""

    skill: Skill
    contract: SkillContract | None
    match: Match | None
    """How it fits the search; None without one."""

    @property
    def is_unreadable(self) -> bool:
        """Return True if a newer release wrote the current version."""
        return self.contract is None and self.skill.current is not None

    @property
    def risk(self) -> str:
        """The highest risk of its actions; empty without any."""
        actions = self.contract.actions if self.contract else ()
        return str(highest([action.risk for action in actions])) if actions else ""


@dataclass(frozen=True)
class SkillListing:
    """The skills that fit, and how many there are for each value of a facet."""

    lines: list[SkillLine]
    counts: Mapping[str, Counter[str]]
    is_near: bool = False
    """True if no skill matches the search and these come close."""


def listing(by: Actor, *, text: str, facets: Mapping[str, str]) -> SkillListing:
    """Return the visible skills that match a search and facets, the best first.

    Each facet is counted over the skills that match the search and all other facets.
    """
    visible = selectors.visible_to(by).select_related("current").order_by("slug")
    lines = {skill.slug: _line(skill) for skill in visible}
    is_near = False
    if text:
        result = search(text, {slug: line.contract for slug, line in lines.items()})
        is_near = not result.matches
        matches = result.near if is_near else result.matches
        lines = {
            slug: SkillLine(lines[slug].skill, lines[slug].contract, matches[slug])
            for slug in sorted(matches, key=lambda slug: (-matches[slug].score, slug))
        }
    counts = {
        name: Counter(
            getattr(line.skill, name)
            for line in lines.values()
            if _fits(line, {k: v for k, v in facets.items() if k != name})
        )
        for name in FACETS
    }
    fitting = [line for line in lines.values() if _fits(line, facets)]
    return SkillListing(fitting, counts, is_near and bool(fitting))


def _line(skill: Skill) -> SkillLine:
    contract = skill.current.readable() if skill.current else None
    return SkillLine(skill, contract, None)


def _fits(line: SkillLine, facets: Mapping[str, str]) -> bool:
    return all(getattr(line.skill, name) == value for name, value in facets.items())
