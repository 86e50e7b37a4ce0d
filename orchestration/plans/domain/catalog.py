"""What a validator asks the registry, for one proposer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from orchestration.skills.domain.contract import SkillContract


@dataclass(frozen=True)
class CatalogEntry:
    """A skill version as the validator sees it, for one proposer."""

    contract: SkillContract
    state: str
    digest: str
    may_propose: bool
    available: bool
    """Whether the published code is installed here."""
    version_id: str


class Catalog(Protocol):
    """What the registry answers, for one proposer."""

    def find(self, slug: str, version: str | None) -> CatalogEntry | None:
        """The version asked for, or the current one."""
        ...

    def known_versions(self, slug: str) -> Sequence[str]:
        """Its published versions."""
        ...

    def slugs(self) -> Sequence[str]:
        """The skills the proposer may see."""
        ...
