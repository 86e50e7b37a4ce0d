"""The skills that a plan may use, for one proposer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestration.skills.domain.contract import SkillContract


@dataclass(frozen=True)
class CatalogEntry:
    """A skill version that a step would be bound to."""

    contract: SkillContract
    state: str
    digest: str
    may_propose: bool
    available: bool
    """True if the published code is installed here."""
    version_id: str


class Catalog(Protocol):
    """The registry of skills, as validation reads it."""

    def find(self, slug: str, version: str | None) -> CatalogEntry | None:
        """Return this version, or the current one."""
        ...

    def known_versions(self, slug: str) -> Sequence[str]:
        """Return the published versions of a skill."""
        ...

    def slugs(self) -> Sequence[str]:
        """Return the skills that the proposer may see."""
        ...
