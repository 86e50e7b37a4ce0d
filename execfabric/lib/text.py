"""What texts show and hold, and positions in them."""

import unicodedata

# Letters that show nothing: the Hangul fillers and the empty Braille cell.
BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800")


def is_visible(text: str) -> bool:
    """Return True if the text has a visible character.

    Unicode categories Z, C and M (spaces, controls, format characters and combining
    marks) are invisible on their own.
    """
    return any(
        unicodedata.category(char)[0] in "LNPS" and char not in BLANK for char in text
    )


def is_storable(text: str) -> bool:
    """Return True if Postgres can store a text: no NUL and no lone surrogates."""
    return not any(char == "\0" or "\ud800" <= char <= "\udfff" for char in text)


def position_of(text: str, index: int) -> tuple[int, int]:
    """Return line and column of a character, counted from 1."""
    return text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)
