"""One piece of text that a person reads, and where it is in the source."""

from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PACKAGES = ("execfabric", "orchestration", "approvals", "audit")

DOCSTRING = "docstring"
UI = "ui"
ERROR = "error"


@dataclass(frozen=True, order=True)
class Text:
    """A docstring, a string of the interface or an error sentence."""

    path: str
    line: int
    kind: str
    words: str


def product_files(pattern: str, *folders: str) -> list[Path]:
    """Return the product's files that match `pattern`, without migrations."""
    files = (path for folder in folders for path in (PROJECT / folder).rglob(pattern))
    return sorted(path for path in files if "migrations" not in path.parts)


def relative(path: Path) -> str:
    """Return `path` as it is written in reports."""
    return path.relative_to(PROJECT).as_posix()
