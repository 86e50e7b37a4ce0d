"""How text from strangers is shown: complete, and with nothing that can deceive.

Characters that are invisible, that reorder or hide their neighbours, or that pass for
others are written out as marks such as ⟦U+202E⟧. Nothing is ever left out.
"""

import re
import unicodedata
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from execfabric.web import lookalikes

OPEN, CLOSE = "\u27e6", "\u27e7"
LONG_BLANK = 16
"""So many spaces in a row push text out of sight; they are counted instead."""
LONG_GAP = 4
"""So many line breaks in a row do the same."""
MARKS_IN_A_ROW = 2
"""More combining marks than this on one letter paint over their neighbours."""
OVERLAY = 1
"""The combining class of marks that strike their letter out."""


class Sort(StrEnum):
    """What a piece of shown text is."""

    PLAIN = "plain"
    BREAK = "break"  # a line break: shown as a sign and obeyed
    MARK = "mark"  # stands for a character that must not act
    ALIKE = "alike"  # a real character that passes for another, and its mark
    RIGHT_TO_LEFT = "rtl"  # a run that is read from right to left, kept to itself


@dataclass(frozen=True)
class Piece:
    """A stretch of text to be shown in one way."""

    sort: Sort
    text: str
    """What is drawn; for a mark the mark itself."""
    note: str = ""
    """What it is, for people: the character's name."""


@dataclass(frozen=True)
class Shown:
    """A whole text, ready to be drawn piece by piece."""

    pieces: tuple[Piece, ...]
    characters: int
    bytes: int
    warnings: tuple[str, ...]
    """Sentences about what was marked; empty for harmless text."""
    is_cut: bool = False
    """Whether the pieces are only the start of the text."""

    @property
    def is_marked(self) -> bool:
        """Whether anything in it needed a mark."""
        return bool(self.warnings)


@dataclass(frozen=True)
class Limit:
    """How much of a text to draw."""

    characters: int
    lines: int
    pieces: int

    def cut(self, text: str) -> str:
        """Return the start of `text` that has neither too many characters nor lines."""
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

_LONG_BLANKS = "It contains long blank stretches, counted here."
_TWINS = "It contains letters that pass for others."
_HARMLESS = re.compile(r"[\x21-\x7e]+(?: [\x21-\x7e]+)*")
_STRETCHES = re.compile(rf"\n{{{LONG_GAP},}}|\n| {{{LONG_BLANK},}}| +|[^\n ]+")
_WORDS = re.compile(r"[^\W_](?:[^\W_]|[\u0300-\u036f])*|.", re.DOTALL)


def shown(text: str) -> Shown:
    """The whole of `text` as pieces, with everything that could deceive marked."""
    size = len(text.encode("utf-8", "surrogatepass"))
    if not text or _HARMLESS.fullmatch(text):
        pieces: tuple[Piece, ...] = (Piece(Sort.PLAIN, text),) if text else ()
        return Shown(pieces, len(text), size, ())
    warnings: dict[str, None] = {}
    found = tuple(_joined(_pieces(text, warnings)))
    _note_form(text, warnings)
    return Shown(found, len(text), size, tuple(warnings))


def shown_start(text: str, most: Limit) -> Shown:
    """Return the start of `text` as far as `most` allows; sizes and warnings are the whole's."""
    head = most.cut(text)
    if len(head) == len(text):
        found = shown(text)
        if len(found.pieces) <= most.pieces:
            return found
    pieces = shown(head).pieces[: most.pieces]
    size = len(text.encode("utf-8", "surrogatepass"))
    return Shown(pieces, len(text), size, warnings_of(text), is_cut=True)


def warnings_of(text: str) -> tuple[str, ...]:
    """Return what `shown` warns of, without drawing the text: fast for a megabyte."""
    if not text or _HARMLESS.fullmatch(text):
        return ()
    found: dict[str, None] = {}
    _note_edges(text, found)
    for stretch in dict.fromkeys(_STRETCHES.findall(text)):
        _note(stretch, found)
    _note_form(text, found)
    return tuple(found)


def label(character: str) -> str:
    """The mark that stands for a character: `⟦U+202E⟧`."""
    return f"{OPEN}U+{ord(character):04X}{CLOSE}"


def name_of(character: str) -> str:
    """A character's Unicode name, or what is known of it."""
    known = {"\t": "TAB", "\r": "CARRIAGE RETURN", "\x1b": "ESCAPE", "\0": "NULL"}
    found = known.get(character) or unicodedata.name(character, "")
    return found or f"unnamed ({unicodedata.category(character)})"


def _pieces(text: str, warnings: dict[str, None]) -> Iterator[Piece]:
    _note_edges(text, warnings)
    for stretch in _STRETCHES.findall(text):
        if stretch == "\n":
            yield Piece(Sort.BREAK, stretch, "line break")
        elif _is_short_blank(stretch) or _HARMLESS.fullmatch(stretch):
            yield Piece(Sort.PLAIN, stretch)
        elif stretch[0] in " \n":
            warnings[_LONG_BLANKS] = None
            what = "spaces" if stretch[0] == " " else "line breaks"
            counted = f"{len(stretch)} {what}"
            yield Piece(Sort.MARK, f"{OPEN}{counted}{CLOSE}", counted)
        else:
            yield from _careful(stretch, warnings)


def _note(stretch: str, warnings: dict[str, None]) -> None:
    """Warn of one stretch by its distinct words and characters."""
    if stretch == "\n" or _is_short_blank(stretch) or _HARMLESS.fullmatch(stretch):
        return
    if stretch[0] in " \n":
        warnings[_LONG_BLANKS] = None
        return
    if any(map(_is_combining, set(stretch))):
        # What such a mark does depends on its neighbours: only drawing it tells.
        deque(_careful(stretch, warnings), maxlen=0)
        return
    for word in set(_WORDS.findall(stretch)):
        suspects = lookalikes.suspects(word) if not word.isascii() else frozenset()
        if suspects:
            warnings[_TWINS] = None
        for character in set(word) - suspects:
            if why := _sort(character)[1]:
                warnings[why] = None


def _note_edges(text: str, warnings: dict[str, None]) -> None:
    if text[0] == " " or text[-1] == " ":
        warnings["It begins or ends with a space."] = None


def _note_form(text: str, warnings: dict[str, None]) -> None:
    if not unicodedata.is_normalized("NFC", text):
        warnings["It is not in Unicode form NFC: equal-looking text can differ."] = None


def _is_short_blank(stretch: str) -> bool:
    return stretch[0] == " " and len(stretch) < LONG_BLANK


def _careful(stretch: str, warnings: dict[str, None]) -> Iterator[Piece]:
    """Text without blanks, character by character, words looked at as wholes."""
    on_letter, marks = False, 0
    for word in _WORDS.findall(stretch):
        suspects = lookalikes.suspects(word) if not word.isascii() else frozenset()
        if suspects:
            warnings[_TWINS] = None
        for character in word:
            if _is_combining(character):
                marks += 1
                smears = not on_letter or marks > MARKS_IN_A_ROW or _covers(character)
            else:
                marks, smears = 0, False
                on_letter = character.isalpha() and character not in suspects
            if character in suspects:
                sort, why = Sort.ALIKE, ""
            elif smears:
                sort = Sort.MARK
                why = "It contains marks that paint over their neighbours."
            else:
                sort, why = _sort(character)
            if why:
                warnings[why] = None
            yield _piece(sort, character)


def _piece(sort: Sort, character: str) -> Piece:
    if sort is Sort.PLAIN:
        return Piece(sort, character)
    if sort is Sort.RIGHT_TO_LEFT:
        return Piece(sort, character, "read from right to left")
    drawn = character if sort is Sort.ALIKE else ""
    return Piece(sort, drawn + label(character), name_of(character))


@cache
def _sort(character: str) -> tuple[Sort, str]:
    """How a character is drawn by itself, and the warning that it is worth."""
    if character.isascii() and character.isprintable():
        return Sort.PLAIN, ""
    if why := _hidden(character):
        return Sort.MARK, why
    if character in lookalikes.SIGNS or lookalikes.is_compatibility(character):
        return Sort.ALIKE, "It contains signs that pass for others."
    if unicodedata.bidirectional(character) in RIGHT_TO_LEFT:
        return Sort.RIGHT_TO_LEFT, "It contains text that is read from right to left."
    return Sort.PLAIN, ""


def _hidden(character: str) -> str:
    """Why a character must not be drawn, as a sentence; empty when it may."""
    code = ord(character)
    category = unicodedata.category(character)
    reasons = (
        (code in BIDI, "It contains controls that reorder text."),
        (code in TAGS, "It contains tag characters, which hide text."),
        (category == "Cc", "It contains control characters."),
        (
            category in NEVER_DRAWN or code in BLANK,
            "It contains characters that cannot be seen.",
        ),
        (category == "Zs", "It contains spaces that are not plain spaces."),
        (
            character in {OPEN, CLOSE},
            "It contains the brackets that marks are written in.",
        ),
    )
    return next((sentence for holds, sentence in reasons if holds), "")


def _is_combining(character: str) -> bool:
    return (
        unicodedata.category(character) in {"Mn", "Me"} and ord(character) not in BLANK
    )


def _covers(mark: str) -> bool:
    return unicodedata.combining(mark) == OVERLAY or unicodedata.category(mark) == "Me"


def _joined(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Neighbours of the same sort as one piece, marks apart."""
    sort: Sort | None = None
    texts: list[str] = []
    note = ""
    for piece in pieces:
        joins = piece.sort in {Sort.PLAIN, Sort.RIGHT_TO_LEFT} and piece.sort is sort
        if not joins:
            if sort is not None:
                yield Piece(sort, "".join(texts), note)
            sort, texts, note = piece.sort, [], piece.note
        texts.append(piece.text)
    if sort is not None:
        yield Piece(sort, "".join(texts), note)
