"""Why an operation of the system failed, in words that name nothing of this host."""

import re
import traceback
from pathlib import Path

_NUMBERS = re.compile(r"\[(?:Errno|SSL)[^\]]*\]\s*|\s*\(_ssl\.c:\d+\)")


def plain(error: BaseException) -> str:
    """Return the reason without error numbers and without the path in an OSError."""
    named = isinstance(error, OSError) and error.strerror
    text = str(error.strerror if named else error)  # type: ignore[attr-defined]
    return cleaned(text) or type(error).__name__


def cleaned(text: str) -> str:
    """Return a message of a library without error numbers."""
    return _NUMBERS.sub("", text).strip()


def trace(error: BaseException) -> str:
    """Return where an exception came from: names of files, not their places."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [
        f"  {Path(item.filename).name}:{item.lineno} in {item.name}" for item in frames
    ]
    return "\n".join([f"{type(error).__name__}: {plain(error)}", *lines])
