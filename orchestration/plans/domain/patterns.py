"""What a pattern may cost: Python's matcher backtracks, so some never come to an end.

A stranger's pattern is read in a small part of Python's pattern language, and the ways
in which it can match are counted, on the safe side. Two neighbours whose first
characters differ leave the matcher no choice; where they overlap, each length is a way.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

LONGEST_PATTERN = 200
LONGEST_MATCHED = 256
"""Characters of a text that a pattern is tried on."""
MOST_STEPS = 1 << 25
"""In one text: a little more than `a*a*b` may take."""

_OTHERS = 1 << 128
"""The bit of all characters beyond ASCII."""
_ASCII = [chr(code) for code in range(128)]
_TOKEN = re.compile(
    r"""
      (?P<open>\((?:\?:|\?P<[A-Za-z_]\w*>|(?!\?)))
    | (?P<mark>[)|])
    | (?P<edge>\^|\$|\\[AZbB])
    | (?P<count>[*+?]|\{(?!\})[0-9]*(?:,[0-9]*)?\})
    | (?P<atom>
          \[\^?\]?(?:\\.|[^\]\\])*\]
        | \\(?:[dDwWsStnrfv]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|[^A-Za-z0-9])
        | [^\\()|[*+?]
      )""",
    re.VERBOSE | re.DOTALL,
)
_BEYOND_ASCII = re.compile(r"\[\^|\\[a-zA-Z]|[^\x00-\x7f]|\A\.")


class Unreadable(ValueError):
    """The pattern uses what is not counted here; the text says what."""


@dataclass(frozen=True)
class Atom:
    """One character of a set, as bits."""

    characters: int


@dataclass(frozen=True)
class Edge:
    """A place between characters."""

    start: bool


@dataclass(frozen=True)
class Choice:
    """One of several rows; a group."""

    rows: "tuple[Row, ...]"


@dataclass(frozen=True)
class Repeat:
    """A part, so many times."""

    part: "Part"
    least: int
    most: int


Part = Atom | Edge | Choice | Repeat
Row = tuple[Part, ...]


def steps(pattern: str) -> int:
    """About how many steps a search in the longest text takes at worst.

    :raises Unreadable: for what is not counted here
    :raises re.error: when it is no pattern
    """
    re.compile(pattern)
    whole = _Reader(pattern).read()
    ways = _Ways().of(whole, 0)
    starts = 1 if all(_anchored(row) for row in whole.rows) else LONGEST_MATCHED
    return ways * starts * LONGEST_MATCHED


def _anchored(row: Row) -> bool:
    return bool(row) and isinstance(row[0], Edge) and row[0].start


class _Reader:
    """Reads a pattern that Python has accepted."""

    def __init__(self, pattern: str) -> None:
        self._tokens = list(_tokens(pattern))
        self._tokens.reverse()

    def read(self) -> Choice:
        return self._choice()

    def _choice(self) -> Choice:
        rows: list[list[Part]] = [[]]
        while self._tokens:
            kind, text = self._tokens.pop()
            if text == ")" and kind == "mark":
                break
            if kind == "mark":
                rows.append([])
            elif kind == "count":
                self._repeat(rows[-1], text)
            else:
                rows[-1].append(self._part(kind, text))
        return Choice(tuple(map(tuple, rows)))

    def _part(self, kind: str, text: str) -> Part:
        if kind == "open":
            return self._choice()
        if kind == "edge":
            return Edge(text in {"^", "\\A"})
        return Atom(_characters(text))

    def _repeat(self, row: list[Part], text: str) -> None:
        # A second mark makes the first lazy or possessive: the same ways, or fewer.
        if self._tokens and self._tokens[-1] in {("count", "?"), ("count", "+")}:
            self._tokens.pop()
        row.append(Repeat(row.pop(), *_counts(text)))


def _tokens(pattern: str) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(pattern):
        found = _TOKEN.match(pattern, at)
        if found is None:
            message = f"{pattern[at : at + 4]!r} is not part of the patterns of a plan"
            raise Unreadable(message)
        kind = found.lastgroup or ""
        yield kind, found[kind]
        at = found.end()


@lru_cache(maxsize=1024)
def _characters(text: str) -> int:
    one = re.compile(text)
    found = sum(1 << ord(letter) for letter in _ASCII if one.fullmatch(letter))
    return found | _OTHERS if _BEYOND_ASCII.search(text) else found


def _counts(text: str) -> tuple[int, int]:
    usual = {"*": (0, LONGEST_MATCHED), "+": (1, LONGEST_MATCHED), "?": (0, 1)}
    if text in usual:
        return usual[text]
    least, comma, most = text[1:-1].partition(",")
    low = int(least or 0)
    high = int(most) if most else (LONGEST_MATCHED if comma else low)
    return min(low, LONGEST_MATCHED), min(high, LONGEST_MATCHED)


class _Ways:
    """Counts in how many ways a part can match from one place, at most.

    `after` are the characters with which what follows can begin. What ends the whole
    pattern is followed by nothing: the first match ends the search.
    """

    def of(self, part: Part, after: int) -> int:
        if isinstance(part, Choice):
            return self._of_choice(part, after)
        if isinstance(part, Repeat):
            return self._of_repeat(part, after)
        return 1

    def _of_choice(self, part: Choice, after: int) -> int:
        firsts = [_first(row, after) for row in part.rows]
        ways = [self._of_row(row, after) for row in part.rows]
        apart = sum(firsts) == _union(firsts)
        return max(ways) if apart else _bounded(sum(ways))

    def _of_row(self, row: Row, after: int) -> int:
        ways = 1
        for part in reversed(row):
            ways = _bounded(ways * self.of(part, after))
            after = _first((part,), after)
        return ways

    def _of_repeat(self, part: Repeat, after: int) -> int:
        width = _width(part.part)
        if not width and part.most > 1:
            # A round may be empty: the same text falls into rounds in any number of ways.
            return MOST_STEPS + 1
        begins = _first((part.part,), 0)
        ways = self.of(part.part, begins | after)
        # One round more than the text has room for: it is begun, and then given up.
        rounds = min(part.most, LONGEST_MATCHED // max(width, 1) + 1)
        if not begins & after and (ways == 1 or rounds == 1):
            return ways
        counts = range(min(part.least, rounds), rounds + 1)
        return _bounded(sum(_power(ways, rounds) for rounds in counts))


def _first(row: Sequence[Part], after: int) -> int:
    """The characters with which a row can begin that is followed by `after`."""
    found = after
    for part in reversed(row):
        if isinstance(part, Atom):
            found = part.characters
        elif isinstance(part, Choice):
            found = _union([_first(inner, found) for inner in part.rows])
        elif isinstance(part, Repeat):
            begins = _first((part.part,), found)
            found = begins if part.least else begins | found
    return found


def _width(part: Part) -> int:
    """The fewest characters that a part takes."""
    if isinstance(part, Atom):
        return 1
    if isinstance(part, Choice):
        return min(sum(map(_width, row)) for row in part.rows)
    return part.least * _width(part.part) if isinstance(part, Repeat) else 0


def _union(sets: Sequence[int]) -> int:
    found = 0
    for one in sets:
        found |= one
    return found


def _power(ways: int, rounds: int) -> int:
    return 1 if ways == 1 else _bounded(ways ** min(rounds, 32))


def _bounded(ways: int) -> int:
    return min(ways, MOST_STEPS + 1)
