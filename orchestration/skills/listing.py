"""The list of skills: search, facets and their counts."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from execfabric.lib.actor import Actor
from execfabric.lib.risk import highest
from orchestration.skills import selectors
from orchestration.skills.domain.contract import SkillContract
from orchestration.skills.domain.search import Match, search
from orchestration.skills.models import Skill

FACETS = ("domain", "state", "source")


@dataclass(frozen=True)
class SkillLine:
    skill: Skill
    contract: SkillContract | None
    match: Match | None = None
    """The match of the skill with the search; None without a search."""

    @property
    def is_unreadable(self) -> bool:
        """Return True if a newer release wrote the current version."""
        return self.contract is None and self.skill.current is not None

    @property
    def risk(self) -> str:
        """The highest risk of the skill's actions; empty if it has none."""
        actions = self.contract.actions if self.contract else ()
        return str(highest([action.risk for action in actions])) if actions else ""


@dataclass(frozen=True)
class SkillListing:
    """The matching skills, and their number for each value of a facet."""

    lines: list[SkillLine]
    counts: Mapping[str, Counter[str]]
    is_near: bool = False
    """True if no skill matches the search and similar ones are listed."""


def listing(by: Actor, *, text: str, facets: Mapping[str, str]) -> SkillListing:
    """Return the visible skills that match a search and facets, the best first.

    Each facet is counted over the skills that match the search and all other facets.
    """
    visible = selectors.visible_to(by).select_related("current").order_by("slug")
    lines = {
        skill.slug: SkillLine(
            skill, skill.current.readable() if skill.current else None
        )
        for skill in visible
    }
    is_near = False
    if text:
        result = search(text, {slug: line.contract for slug, line in lines.items()})
        is_near = not result.matches
        matches = result.near if is_near else result.matches
        lines = {
            slug: replace(lines[slug], match=matches[slug])
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


def _fits(line: SkillLine, facets: Mapping[str, str]) -> bool:
    return all(getattr(line.skill, name) == value for name, value in facets.items())
