"""Tests for visible text."""

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
