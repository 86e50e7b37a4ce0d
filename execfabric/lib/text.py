"""What counts as text that a person can read."""

import unicodedata

# Letters by category that show nothing: the Hangul fillers and the empty Braille cell.
BLANK = frozenset("\u115f\u1160\u3164\uffa0\u2800")


def is_visible(text: str) -> bool:
    """Return True if the text has a character that can be seen.

    Spaces, controls, format characters (zero-width, bidirectional) and combining marks
    alone cannot: Unicode categories Z, C and M.
    """
    return any(
        unicodedata.category(char)[0] in "LNPS" and char not in BLANK for char in text
    )
