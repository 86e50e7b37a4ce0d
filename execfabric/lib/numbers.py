"""Numbers in user input."""

LARGEST = 2**53 - 1
"""The largest integer that JSON represents exactly; it fits a bigint column."""


def whole(text: str) -> int | None:
    """Return the integer in `text`, from 0 to 2**53 - 1, or None."""
    if not (text.isascii() and text.isdigit()) or len(text) > len(str(LARGEST)):
        return None
    return min(int(text), LARGEST)
