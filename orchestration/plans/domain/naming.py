"""Suggest a known name for one that is not known."""

import difflib
from collections.abc import Iterable

MAX_LENGTH = 100
MAX_CANDIDATES = 2_000


def near(name: str, known: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?`, or an empty text if no name is similar."""
    candidates = list(known)
    # Comparing takes time quadratic in the length.
    if len(name) > MAX_LENGTH or len(candidates) > MAX_CANDIDATES:
        return ""
    close = difflib.get_close_matches(name, candidates, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
