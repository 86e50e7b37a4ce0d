"""The risks of actions and their order. What a risk requires is in approvals.domain."""

from collections.abc import Iterable
from enum import StrEnum


class Risk(StrEnum):
    """The harm that a wrong run of an action can cause, in ascending order."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """The rank of the risk: 0 for low to 3 for critical."""
        return _RANKS[self]

    @classmethod
    def of(cls, name: str) -> "Risk":
        """Return the risk with this name; an unknown name is the highest risk."""
        try:
            return cls(name)
        except ValueError:
            return cls.CRITICAL


_RANKS = {risk: rank for rank, risk in enumerate(Risk)}


def highest(risks: Iterable[str]) -> Risk:
    """Return the highest of these risks; low if there are none."""
    return max(map(Risk.of, risks), key=lambda risk: risk.rank, default=Risk.LOW)
