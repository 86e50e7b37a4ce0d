"""Decide how the start of a file is shown, from its name and its first bytes.

Nothing here runs or renders content: a kind is a promise about the bytes, and only the
kinds in `FRAMED` are sent to the browser as what they are, in a frame of their own.
"""

import codecs
import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any

from execfabric.lib import canonical

START = 256 * 1024
"""Bytes of a file that are read for its preview."""
MAX_FRAME = 2 * 1024 * 1024
MAX_IMAGE = 20 * 1024 * 1024
ROWS = 100
COLUMNS = 30
CELL = 200
"""Characters of a cell."""
TEXT = 16 * 1024
"""Characters of a text."""
LINES = 400
SIGNATURES = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff",
    "image/gif": b"GIF8",
    "image/webp": b"RIFF",
}
PDF = "application/pdf"
SVG = "image/svg+xml"
DELIMITERS = {"text/csv": ",", "text/tab-separated-values": "\t"}
PDF_START = b"%PDF-"
MAX_PDF = 50 * 1024 * 1024
BINARY_REASON = "This type of file has no preview."


class PreviewKind(StrEnum):
    TEXT = "text"
    TABLE = "table"
    JSON = "json"
    IMAGE = "image"
    HTML = "html"
    PDF = "pdf"
    NONE = "none"


SANDBOXED = frozenset({PreviewKind.IMAGE, PreviewKind.HTML})
"""Kinds that the browser renders in a sandbox."""
FRAMED = SANDBOXED | {PreviewKind.PDF}
"""Kinds that the browser renders; all others are escaped text on the page."""


@dataclass(frozen=True)
class FilePreview:
    kind: PreviewKind
    text: str = ""
    header: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    value: Any = None
    """The value of a JSON file."""
    note: str = ""
    """A sentence that says what is not shown, and why."""


def preview_of(media_type: str, size: int, start: bytes) -> FilePreview:
    """Return the preview of a file with these first bytes, at most START."""
    if _is_image(media_type, size, start):
        return FilePreview(PreviewKind.IMAGE)
    if media_type == PDF and start.startswith(PDF_START) and size <= MAX_PDF:
        return FilePreview(PreviewKind.PDF)
    text = _decoded(start, is_whole=size <= len(start))
    if text is None or media_type == PDF:
        return FilePreview(PreviewKind.NONE, note=BINARY_REASON)
    return _of_text(media_type, size, text, is_whole=size <= len(start))


def _of_text(media_type: str, size: int, text: str, *, is_whole: bool) -> FilePreview:
    if media_type == "application/json" and is_whole:
        return _json(text, size)
    if media_type in DELIMITERS:
        return _table(text, size, DELIMITERS[media_type], is_whole=is_whole)
    is_framed = media_type == "text/html" and size <= MAX_FRAME
    return _text(PreviewKind.HTML if is_framed else PreviewKind.TEXT, text, size)


def _is_image(media_type: str, size: int, start: bytes) -> bool:
    if size > MAX_IMAGE:
        return False
    if media_type == SVG:
        return b"<svg" in start[:4096]
    signature = SIGNATURES.get(media_type)
    return signature is not None and start.startswith(signature)


def _decoded(start: bytes, *, is_whole: bool) -> str | None:
    """Return UTF-8 text, or None; a character cut at the end is left out."""
    try:
        decoder = codecs.getincrementaldecoder("utf-8-sig")()
        text = decoder.decode(start, final=is_whole)
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text.replace("\r\n", "\n")


def _text(kind: PreviewKind, text: str, size: int) -> FilePreview:
    shown = "\n".join(text[:TEXT].split("\n")[:LINES])
    note = _start_of(len(shown.encode()), size) if shown != text else ""
    return FilePreview(kind, text=shown, note=note)


def _start_of(shown: int, size: int) -> str:
    return f"Showing the first {shown:,} of {size:,} bytes. Download the file for the rest."


def _json(text: str, size: int) -> FilePreview:
    try:
        value = json.loads(text, parse_constant=_not_json)
        canonical.check_depth(value)
        canonical.dumps(value)  # pages show values in this form
    except (ValueError, RecursionError, canonical.NotCanonical):
        return _text(PreviewKind.TEXT, text, size)
    return FilePreview(PreviewKind.JSON, value=value)


def _not_json(name: str) -> Any:
    raise ValueError(name)


def _table(text: str, size: int, delimiter: str, *, is_whole: bool) -> FilePreview:
    lines = text.split("\n") if is_whole else text.split("\n")[:-1]
    try:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        rows = [row for row in islice(reader, ROWS + 2) if row]
    except csv.Error:
        return _text(PreviewKind.TEXT, text, size)
    if not rows:
        return _text(PreviewKind.TEXT, text, size)
    columns = max(map(len, rows))
    cells = [[_cell(cell) for cell in row[:COLUMNS]] for row in rows[: ROWS + 1]]
    width = min(columns, COLUMNS)
    padded = [row + [""] * (width - len(row)) for row in cells]
    parts = []
    if len(rows) > ROWS + 1 or not is_whole:
        parts.append(f"the first {len(padded) - 1} rows")
    if columns > COLUMNS:
        parts.append(f"the first {COLUMNS} of {columns} columns")
    note = f"Showing {' and '.join(parts)}. Download the file for the rest."
    return FilePreview(
        PreviewKind.TABLE,
        header=padded[0],
        rows=padded[1:],
        note=note if parts else "",
    )


def _cell(text: str) -> str:
    return text if len(text) <= CELL else f"{text[: CELL - 1]}…"
