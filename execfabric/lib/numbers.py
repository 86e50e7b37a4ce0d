"""Numbers in text that anyone may have typed."""

LARGEST = 2**53 - 1
"""The largest whole number that JSON carries exactly; a bigint column holds it."""


def whole(text: str) -> int | None:
    """Return a whole number from 0 to 2**53 - 1; None for any other text."""
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(LARGEST)):
        return None
    return min(int(text), LARGEST)
