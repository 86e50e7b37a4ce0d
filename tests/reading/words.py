"""Words and phrases that read like a translation, with what to write instead."""

import re
from collections.abc import Iterator

from tests.reading.text import DOCSTRING, Text

FORBIDDEN = {
    r"whoever|somebody|nobody|everybody": "the user, an approver, anyone, no one",
    r"anew": "again",
    r"mends?|mended": "fix",
    r"yields|yielded": "returns, outputs",
    r"stands?|standing|stood": "is, is stored, appears",
    r"as far as": "if, where",
    r"a way in": "channel, entry point",
    r"at work": "running",
    r"word is on record": "decision recorded",
}
DOUBTFUL = {
    r"people": "users, operators, approvers",
    r"behind (it|them|the|this|that|these|each|another|every|a|an)": "after",
    r"is no [a-z]+|are no [a-z]+": "is not a",
    r"there (is|are) no such": "unknown",
    r"are asked|is asked": "approval requested",
    r"remember(s|ed)?": "cached",
    r"lapse[sd]?": "expired",
    r"grip|bench": "lease, worker context",
}
EXCEPTIONS = re.compile(
    r"stands? for|there (is|are) no\b(?! such)|(is|are) no longer|is no one|"
    r"behind (a|the|your|another)( reverse)? (proxy|pooler|load)",
    re.IGNORECASE,
)
CLAUSE = re.compile(r"(Whether|What|Who|How|Where|When|Which)\b(?!.*\?)")
"""A docstring that begins with a clause."""


def forbidden(text: Text) -> Iterator[str]:
    """Yield what a text must not have, with what to write instead."""
    yield from _words(text, FORBIDDEN)
    if text.kind == DOCSTRING and text.words.startswith("Whether "):
        yield "begins with 'Whether': write Return True if"


def complaints(text: Text) -> Iterator[str]:
    """Yield what to look at in a text: what is forbidden, and what is doubtful."""
    yield from _words(text, FORBIDDEN | DOUBTFUL)
    if text.kind == DOCSTRING and (match := CLAUSE.match(text.words)):
        yield f"begins with {match[0]!r}: use the imperative or a noun phrase"


def _words(text: Text, advice: dict[str, str]) -> Iterator[str]:
    prose = re.sub(r"`[^`]*`", "`x`", text.words)
    prose = EXCEPTIONS.sub("", prose)
    for words, instead in advice.items():
        if match := re.search(rf"\b({words})\b", prose, re.IGNORECASE):
            yield f"{match[0]!r}: write {instead}"
