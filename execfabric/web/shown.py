"""Display untrusted text completely, with deceptive characters marked.

Characters that are invisible, reorder or cover others, or look like others become marks
such as ⟦U+202E⟧.
"""

import re
import unicodedata
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache, lru_cache
from itertools import chain, groupby
from operator import attrgetter

from execfabric.web import lookalikes

OPEN, CLOSE = "\u27e6", "\u27e7"
LONG_BLANK = 16
"""Spaces in a row from which a count is shown: they hide text to their right."""
LONG_GAP = 4
"""Line breaks in a row from which a count is shown."""
MARKS_IN_A_ROW = 2
"""Maximum combining marks on a letter; more of them cover other text."""
OVERLAY = 1
"""Combining class of marks that strike out their letter."""


class Sort(StrEnum):
    PLAIN = "plain"
    BREAK = "break"  # a line break, with a visible sign
    MARK = "mark"  # replaces a character
    ALIKE = "alike"  # a character that looks like another, with its mark
    RIGHT_TO_LEFT = "rtl"  # text that is read from right to left, isolated


@dataclass(frozen=True)
class TextPart:
    """A part of a text that is displayed in one way."""

    sort: Sort
    text: str
    note: str = ""


@dataclass(frozen=True)
class Shown:
    """A text as parts for display."""

    pieces: tuple[TextPart, ...]
    characters: int
    bytes: int
    warnings: tuple[str, ...]
    """Sentences about deceptive characters, if any."""
    is_cut: bool = False
    """True if the pieces are only the start of the text."""


@dataclass(frozen=True)
class DisplayLimit:
    """Largest part of a text to display."""

    characters: int
    lines: int
    pieces: int

    def cut(self, text: str) -> str:
        """Return the start of `text` within the limits of characters and lines."""
        lines = text[: self.characters].split("\n", self.lines)
        return "\n".join(lines[: self.lines])


# Invisible or blank characters whose category is that of letters, marks or symbols.
BLANK = frozenset(
    {
        *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180B, 0x180C, 0x180D, 0x180F),
        *(0x2800, 0x3164, 0xFFA0, 0xFFFC, 0xFFFD, 0x1D159),
        *range(0xFE00, 0xFE10),
        *range(0xE0100, 0xE01F0),
    }
)
BIDI = frozenset(
    [0x061C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)]
)
TAGS = range(0xE0000, 0xE0080)
NEVER_DRAWN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})
CONTROLS = {"\t": "TAB", "\r": "CARRIAGE RETURN", "\x1b": "ESCAPE", "\0": "NULL"}
"""Names of characters that have none in Unicode."""

_NOT_NFC = "It is not in Unicode form NFC, so text that looks equal can differ."
_LONG_BLANKS = "It contains long runs of blanks, shown as a count."
_TWINS = "It contains letters that look like others."
_HARMLESS = re.compile(r"[\x21-\x7e]+(?: [\x21-\x7e]+)*")
_PLAIN = re.compile(rf" {{1,{LONG_BLANK - 1}}}|[\x21-\x7e]+")
_STRETCHES = re.compile(rf"\n{{{LONG_GAP},}}|\n| {{{LONG_BLANK},}}| +|[^\n ]+")
_WORDS = re.compile(r"[^\W_](?:[^\W_]|[\u0300-\u036f])*|.", re.DOTALL)


def shown(text: str) -> Shown:
    """Return the whole text as parts, with deceptive characters marked."""
    size = len(text.encode("utf-8", "surrogatepass"))
    if not text or _HARMLESS.fullmatch(text):
        pieces: tuple[TextPart, ...] = (TextPart(Sort.PLAIN, text),) if text else ()
        return Shown(pieces, len(text), size, ())
    warnings: dict[str, None] = {}
    _note_edges(text, warnings)
    stretches = _STRETCHES.findall(text)
    parts = chain.from_iterable(_parts(stretch, warnings) for stretch in stretches)
    pieces = tuple(_joined(parts))
    _note_form(text, warnings)
    return Shown(pieces, len(text), size, tuple(warnings))


def shown_start(text: str, limit: DisplayLimit) -> Shown:
    """Return the start of `text`, with the size and warnings of all of it."""
    head = limit.cut(text)
    if len(head) == len(text):
        whole = shown(text)
        if len(whole.pieces) <= limit.pieces:
            return whole
    pieces = shown(head).pieces[: limit.pieces]
    size = len(text.encode("utf-8", "surrogatepass"))
    return Shown(pieces, len(text), size, warnings_of(text), is_cut=True)


def warnings_of(text: str) -> tuple[str, ...]:
    """Return the warnings of `shown`, faster: check repeated parts once."""
    if not text or _HARMLESS.fullmatch(text):
        return ()
    warnings: dict[str, None] = {}
    _note_edges(text, warnings)
    for stretch in dict.fromkeys(_STRETCHES.findall(text)):
        deque(_parts(stretch, warnings), maxlen=0)
    _note_form(text, warnings)
    return tuple(warnings)


def _parts(stretch: str, warnings: dict[str, None]) -> Iterator[TextPart]:
    if stretch == "\n":
        yield TextPart(Sort.BREAK, stretch, "line break")
    elif _PLAIN.fullmatch(stretch):
        yield TextPart(Sort.PLAIN, stretch)
    elif stretch[0] in " \n":
        warnings[_LONG_BLANKS] = None
        what = "spaces" if stretch[0] == " " else "line breaks"
        counted = f"{len(stretch)} {what}"
        yield TextPart(Sort.MARK, f"{OPEN}{counted}{CLOSE}", counted)
    else:
        yield from _careful(stretch, warnings)


def _note_edges(text: str, warnings: dict[str, None]) -> None:
    if text[0] == " " or text[-1] == " ":
        warnings["It begins or ends with a space."] = None


def _note_form(text: str, warnings: dict[str, None]) -> None:
    if not unicodedata.is_normalized("NFC", text):
        warnings[_NOT_NFC] = None


def _careful(stretch: str, warnings: dict[str, None]) -> Iterator[TextPart]:
    """Build the parts of a text without blanks, character by character."""
    on_letter, marks = False, 0
    for word in _WORDS.findall(stretch):
        suspects = lookalikes.suspects(word) if not word.isascii() else frozenset()
        if suspects:
            warnings[_TWINS] = None
        for character in word:
            if _is_combining(character):
                marks += 1
                covers = not on_letter or marks > MARKS_IN_A_ROW or _covers(character)
            else:
                marks, covers = 0, False
                on_letter = character.isalpha() and character not in suspects
            if character in suspects:
                sort, why = Sort.ALIKE, ""
            elif covers:
                sort = Sort.MARK
                why = "It contains marks that cover other characters."
            else:
                sort, why = _sort(character)
            if why:
                warnings[why] = None
            yield _piece(sort, character)


@lru_cache(maxsize=4096)
def _piece(sort: Sort, character: str) -> TextPart:
    if sort is Sort.PLAIN:
        return TextPart(sort, character)
    if sort is Sort.RIGHT_TO_LEFT:
        return TextPart(sort, character, "read from right to left")
    drawn = character if sort is Sort.ALIKE else ""
    mark = f"{OPEN}U+{ord(character):04X}{CLOSE}"
    name = CONTROLS.get(character) or unicodedata.name(character, "")
    note = name or f"unnamed ({unicodedata.category(character)})"
    return TextPart(sort, drawn + mark, note)


@cache
def _sort(character: str) -> tuple[Sort, str]:
    """Return how a character is displayed on its own, and its warning."""
    if character.isascii() and character.isprintable():
        return Sort.PLAIN, ""
    if why := _hidden(character):
        return Sort.MARK, why
    if character in lookalikes.SIGNS or lookalikes.is_compatibility(character):
        return Sort.ALIKE, "It contains signs that look like others."
    if unicodedata.bidirectional(character) in RIGHT_TO_LEFT:
        return Sort.RIGHT_TO_LEFT, "It contains text that is read from right to left."
    return Sort.PLAIN, ""


def _hidden(character: str) -> str:
    """Return why a character must not be displayed, or ""."""
    code = ord(character)
    category = unicodedata.category(character)
    reasons = (
        (code in BIDI, "It contains controls that reorder text."),
        (code in TAGS, "It contains tag characters, which hide text."),
        (category == "Cc", "It contains control characters."),
        (category in NEVER_DRAWN or code in BLANK, "It contains invisible characters."),
        (category == "Zs", "It contains spaces that are not plain spaces."),
        (character in {OPEN, CLOSE}, "It contains the brackets that marks use."),
    )
    return next((sentence for holds, sentence in reasons if holds), "")


def _is_combining(character: str) -> bool:
    category = unicodedata.category(character)
    return category in {"Mn", "Me"} and ord(character) not in BLANK


def _covers(mark: str) -> bool:
    return unicodedata.combining(mark) == OVERLAY or unicodedata.category(mark) == "Me"


def _joined(pieces: Iterable[TextPart]) -> Iterator[TextPart]:
    """Join adjacent parts of the same kind, except marks."""
    for sort, alike in groupby(pieces, key=attrgetter("sort")):
        if sort in {Sort.PLAIN, Sort.RIGHT_TO_LEFT}:
            first = next(alike)
            yield replace(first, text=first.text + "".join(p.text for p in alike))
        else:
            yield from alike
