"""The skills that a plan may use, for one proposer."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestration.plans.domain.problem import ERROR, WARNING
from orchestration.skills.domain.contract import SkillContract


@dataclass(frozen=True)
class CatalogEntry:
    contract: SkillContract
    state: str
    digest: str
    may_propose: bool
    available: bool
    """True if the published code is installed here."""
    version_id: str


class Catalog(Protocol):
    """The registry of skills, as validation reads it."""

    def find(self, slug: str, version: str | None) -> CatalogEntry | None: ...

    def known_versions(self, slug: str) -> Sequence[str]: ...

    def slugs(self) -> Sequence[str]: ...


def state_problems(skill: str, entry: CatalogEntry) -> Iterator[tuple[str, str, str]]:
    """Return why a plan may not use a skill: codes, sentences and severities."""
    if entry.state == "draft":
        message = f"{skill} is a draft. Ask an admin to publish it."
        yield "plan.skill_not_active", message, ERROR
    if entry.state == "quarantined":
        message = f"{skill} is quarantined, so none of its actions run."
        yield "plan.skill_quarantined", message, ERROR
    if entry.state == "deprecated":
        yield "plan.skill_deprecated", f"{skill} is deprecated.", WARNING
    if not entry.may_propose:
        message = f"You may not propose plans with {skill}."
        yield "plan.skill_not_permitted", message, ERROR
    if not entry.available:
        message = f"The published code of {skill} is not installed here."
        yield "plan.skill_unavailable", message, ERROR
