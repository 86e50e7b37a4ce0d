"""Words and phrases that read like a translation, with what to write instead."""

import re
from collections.abc import Iterator

from tests.reading.text import DOCSTRING, Text

INSTEAD = {
    r"whoever|somebody|nobody|everybody": "the user, an approver, anyone, no one",
    r"people": "users, operators, approvers",
    r"anew": "again",
    r"mends?|mended": "fix",
    r"yields|yielded": "returns, outputs",
    r"stands?|standing|stood": "is, is stored, appears",
    r"as far as": "if, where",
    r"a way in": "channel, entry point",
    r"behind (it|them|the|this|that|these|each|another|every|a|an)": "after",
    r"is no [a-z]+|are no [a-z]+": "is not a",
    r"must be there": "required",
    r"there is no such|there are no such": "unknown",
    r"are asked|is asked": "approval requested",
    r"word is on record": "decision recorded",
    r"at work": "running",
    r"remember(s|ed)?": "cached",
    r"lapse[sd]?": "expired",
    r"the grip|a grip|the bench|a bench": "lease, worker context",
    r"too (many|large|deep) a\b": "too large (max N)",
}
EXCEPTIONS = re.compile(
    r"stands for|stand for|[Ss]tandard|there (is|are) no\b(?! such)|is no longer|are no longer|"
    r"is no one|behind (a|the|your|another)( reverse)? (proxy|pooler|load)",
)
PATTERNS = {
    re.compile(rf"\b({words})\b", re.IGNORECASE): advice
    for words, advice in INSTEAD.items()
}
CLAUSE = re.compile(r"(Whether|What|Who|How|Where|When|Which)\b(?!.*\?)")
"""A docstring that begins with a clause; a question in a heading may."""


def complaints(text: Text) -> Iterator[str]:
    """Yield what to change in a text."""
    prose = re.sub(r"`[^`]*`", "`x`", text.words)
    prose = EXCEPTIONS.sub("", prose)
    for pattern, advice in PATTERNS.items():
        if match := pattern.search(prose):
            yield f"{match[0]!r}: write {advice}"
    if text.kind == DOCSTRING and (match := CLAUSE.match(prose)):
        yield f"begins with {match[0]!r}: use the imperative or a noun phrase"
