"""The nearest known name to one that is not known."""

import difflib
from collections.abc import Iterable

LONGEST = 100
MOST = 2_000


def near(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?`, or nothing where no name is near."""
    candidates = list(known)
    # Comparing is quadratic in the length; nobody misspells at such a length.
    if len(name) > LONGEST or len(candidates) > MOST:
        return ""
    close = difflib.get_close_matches(name, candidates, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
