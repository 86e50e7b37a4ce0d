"""The risks of actions and their order. What a risk requires is in approvals.domain."""

from collections.abc import Iterable
from enum import StrEnum


class Risk(StrEnum):
    """The harm that a wrong run of an action can do, from the least to the most."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """The place in the order: 0 for low to 3 for critical."""
        return list(Risk).index(self)

    @classmethod
    def of(cls, name: str) -> "Risk":
        """Return the risk with this name; an unknown name is the highest risk."""
        return cls(name) if name in list(cls) else cls.CRITICAL


def highest(risks: Iterable[str]) -> Risk:
    """Return the highest of these risks; low if there are none."""
    return max(map(Risk.of, risks), key=lambda risk: risk.rank, default=Risk.LOW)
