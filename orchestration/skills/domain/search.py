"""Search skills by what they do: names, actions, parameters, descriptions, synonyms.

In plain Python over the contracts that a user may see: there are tens of skills, and
their contracts are cached. Full-text search in Postgres would need a second copy of
them as text, and would not know that "shell" means `command`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from orchestration.skills.domain.contract import SkillContract

NAME, ACTION, SUMMARY, DETAIL = 8, 6, 3, 1
"""The weight of a match, by the field that contains it."""
SIMILAR = 0.7
LONGEST_SUFFIX = 3
_WORD = re.compile(r"[^\W_]+")
_SUFFIX = re.compile(r"(?:(?<=([bdgmnpt]))\1)?(?:ing|ed)$|(?:es|s)$")
IGNORED = frozenset({"an", "and", "for", "in", "of", "on", "or", "the", "to", "with"})

SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "add": ("create", "load", "commit"),
    "api": ("http", "webhook"),
    "bash": ("command",),
    "call": ("request",),
    "compress": ("archive", "pack"),
    "copy": ("collect", "copy"),
    "curl": ("http",),
    "database": ("postgres", "sql", "database"),
    "db": ("postgres", "sql", "database"),
    "download": ("http", "collect"),
    "email": ("mail",),
    "execute": ("run", "command"),
    "fetch": ("http", "collect"),
    "import": ("load",),
    "message": ("mail", "webhook"),
    "postgresql": ("postgres",),
    "program": ("command",),
    "remove": ("delete", "remove", "unpublish", "unload"),
    "repo": ("repository",),
    "rollback": ("revert", "undo"),
    "save": ("publish",),
    "script": ("command",),
    "select": ("query",),
    "shell": ("command",),
    "slack": ("webhook",),
    "smtp": ("mail",),
    "tar": ("archive",),
    "terminal": ("command",),
    "ticket": ("issue", "jira"),
    "tickets": ("issue", "jira"),
    "upload": ("publish",),
    "zip": ("archive",),
}
"""Words that users search for -> words of the contracts that mean the same."""


Entry = tuple[str, int, str]
"""A word of a skill, its weight, and its action or an empty text."""


@dataclass(frozen=True)
class Match:
    """The score of a skill in a search, and its matching actions."""

    score: int
    actions: frozenset[str] = frozenset()


@dataclass(frozen=True)
class SearchResult:
    """The matches by slug; if there are none, the skills that almost match."""

    matches: Mapping[str, Match]
    near: Mapping[str, Match]


def search(text: str, skills: Mapping[str, SkillContract | None]) -> SearchResult:
    """Search skills by slug for all words of `text`.

    Without a match on all words, `near` has the skills with some of them, or with
    similar ones.
    """
    found = [word for word in _words(text) if len(word) > 1 and word not in IGNORED]
    words = list(dict.fromkeys(found))
    entries = {slug: [*_entries(slug, skills[slug])] for slug in skills}
    matches = _matching(words, entries, at_least=len(words))
    if matches or not words:
        return SearchResult(matches, {})
    vocabulary = {word for known in entries.values() for word, _, _ in known}
    corrected = [_similar(word, vocabulary) for word in words]
    near = _matching(corrected, entries, at_least=len(words))
    return SearchResult({}, near or _matching(corrected, entries, at_least=1))


def _matching(
    words: list[str], entries: Mapping[str, list[Entry]], *, at_least: int
) -> dict[str, Match]:
    matches = {slug: _match(words, known, at_least) for slug, known in entries.items()}
    return {slug: match for slug, match in matches.items() if match is not None}


def _match(words: list[str], entries: list[Entry], at_least: int) -> Match | None:
    """Add up the best weight of each word; None below `at_least` words."""
    best: dict[str, int] = {}
    actions: dict[str, set[str]] = {}
    for word, weight, action in entries:
        for wanted in words:
            if any(word.startswith(form) for form in _forms(wanted)):
                best[wanted] = max(weight, best.get(wanted, 0))
                actions.setdefault(action, set()).add(wanted)
    if len(best) < at_least:
        return None
    most = max((len(matched) for matched in actions.values()), default=0)
    fitting = {
        name for name, matched in actions.items() if name and len(matched) == most
    }
    return Match(sum(best.values()), frozenset(fitting))


def _entries(slug: str, contract: SkillContract | None) -> Iterator[Entry]:
    yield from ((word, NAME, "") for word in _words(slug))
    if contract is None:
        return
    yield from ((word, NAME, "") for word in _words(contract.name))
    yield from ((word, SUMMARY, "") for word in _words(contract.description))
    for action in contract.actions:
        details = " ".join(_texts(action.input_schema.get("properties", {})))
        for text, weight in (
            (action.name, ACTION),
            (action.summary, SUMMARY),
            (details, DETAIL),
        ):
            yield from ((word, weight, action.name) for word in _words(text))


def _texts(properties: object) -> Iterator[str]:
    """Return the names, titles and descriptions of parameters."""
    if not isinstance(properties, Mapping):
        return
    for name, rule in properties.items():
        yield str(name)
        if isinstance(rule, Mapping):
            yield f"{rule.get('title', '')} {rule.get('description', '')}"


def _forms(word: str) -> tuple[str, ...]:
    """Return the word beginnings that match a searched word."""
    stem = _SUFFIX.sub("", word) if len(word) > LONGEST_SUFFIX + 1 else word
    return (stem, *SYNONYMS.get(word, ()), *SYNONYMS.get(stem, ()))


def _similar(word: str, vocabulary: Iterable[str]) -> str:
    known = [*vocabulary, *SYNONYMS]
    return next(iter(get_close_matches(word, known, n=1, cutoff=SIMILAR)), word)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
