"""Template tags that render untrusted text and JSON values as HTML.

In Python, because templates are too slow for thousands of lines.
"""

import re
from collections.abc import Iterable
from typing import Any

from django import template
from django.urls import reverse
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from execfabric.web import values
from execfabric.web.shown import DisplayLimit, Shown, Sort, TextPart
from execfabric.web.shown import shown as shown_text
from execfabric.web.shown import shown_start as start_of

register = template.Library()

CLASSES = {Sort.MARK: "shown-mark", Sort.ALIKE: "shown-mark shown-alike"}
BREAK = " ↵ "
CUT = '<span class="shown-cut"> … (continues)</span>'
NAME = DisplayLimit(characters=160, lines=2, pieces=40)
LAYOUT = re.compile(r"(\r?\n| +|\t+)")
CODE = re.compile(r"`([^`<>\n]{1,200})`")
"""A name in a sentence. It contains no HTML, so its marks of deceptive text stay whole."""
KILO = 1000
LONG_TEXT = 200
"""Characters above which the size of a text is shown after it."""


@register.filter
def file_size(count: int) -> str:
    """Return a size in bytes in a readable unit."""
    if count < KILO:
        return "1 byte" if count == 1 else f"{count} bytes"
    size, unit = count / KILO, "kB"
    for larger in ("MB", "GB"):
        if size >= KILO:
            size, unit = size / KILO, larger
    return f"{size:.1f} {unit}"


@register.filter
def shown(value: object) -> SafeString:
    """Render a whole text with deceptive characters marked."""
    return _text(shown_text(str(value if value is not None else "")))


@register.filter
def shown_name(value: object) -> SafeString:
    """Render a name in a list; cut a very long name."""
    return _text(start_of(str(value if value is not None else ""), NAME))


@register.filter
def shown_plain(value: object) -> str:
    """Return `shown` as plain text, for titles and options."""
    pieces = shown_text(str(value if value is not None else "")).pieces
    texts = (BREAK if piece.sort is Sort.BREAK else piece.text for piece in pieces)
    return "".join(texts)


@register.filter
def shown_lines(text: str) -> SafeString:
    """Render the output of a program with its line breaks, tabs and spaces."""
    pieces: list[str] = []
    for part in LAYOUT.split(text):
        pieces += [part] if LAYOUT.fullmatch(part) else _pieces(shown_text(part))
    return mark_safe("".join(pieces))  # noqa: S308  escaped


def shown_rows(rows: Iterable[values.Row]) -> SafeString:
    """Render the lines of a JSON value as a list of names and values."""
    return mark_safe(  # noqa: S308  every part is escaped where it is made
        '<div class="value" role="list">'
        + "".join(_row(row) for row in rows)
        + "</div>"
    )


@register.filter
def shown_value(value: Any) -> SafeString:
    """Render a JSON value, or the start of a large value."""
    part = values.excerpt(value)
    note = f"… {part.lines} of {part.total_lines} lines" if part.is_cut else ""
    return mark_safe(  # noqa: S308  both parts are escaped where they are made
        shown_rows(part.rows) + (f'<p class="shown-cut">{note}</p>' if note else "")
    )


@register.filter
def shown_start(value: object) -> SafeString:
    """Render the start of a text, as much as fits on a page."""
    limit = DisplayLimit(values.CHARACTERS, values.LINES, values.PIECES)
    return _text(start_of(str(value if value is not None else ""), limit))


@register.filter
def shown_message(value: object) -> SafeString:
    """Render a sentence with the names that are in backticks as code."""
    return mark_safe(CODE.sub(r"<code>\1</code>", shown_start(value)))  # noqa: S308


def _row(row: values.Row) -> str:
    name = ""
    if row.name is not None:
        place = " value-index" if row.is_index else ""
        name = f'<span class="value-name{place}">{_text(row.name)}</span>'
    deep = f'<span class="value-size">level {row.depth + 1}</span>'
    level = deep if row.depth > row.indent else ""
    return (
        f'<div class="value-row value-at-{row.indent}" role="listitem">'
        f'{name}<span class="value-body">{_body(row)}{level}</span></div>'
    )


def _body(row: values.Row) -> str:
    if row.value is None:
        entries = "entry" if row.entries == 1 else "entries"
        return f'<span class="value-size">{row.kind}, {row.entries} {entries}</span>'
    text = _text(row.value)
    if row.kind == "secret":
        note = "secret; its value is never shown"
        return f'<span class="value-secret">{text}</span><span class="value-size">{note}</span>'
    if row.file is not None:
        return _file(row.file, text) + _warned(row.value)
    if row.kind != "text":
        return f'<span class="value-plain">{text}</span>'
    size = f'<span class="value-size">{file_size(row.value.bytes)}</span>'
    note = size if row.value.characters > LONG_TEXT else ""
    return f'<span class="value-text">{text}</span>{note}{_warned(row.value)}'


def _file(file: values.FileReference, name: str) -> str:
    """Render a file: a link to its bytes, its size, type and digest."""
    href = reverse("artifact", args=[file.sha256])
    about = f"{file_size(file.size)}, {_text(shown_text(file.media_type))}"
    return (
        f'<a class="value-file" href="{href}">{name}</a>'
        f'<span class="value-size">{about}</span>'
        f'<span class="value-digest">sha256 {file.sha256}</span>'
    )


def _warned(text: Shown) -> str:
    return "".join(
        f'<span class="value-warning">{escape(sentence)}</span>'
        for sentence in text.warnings
    )


def _text(text: Shown) -> SafeString:
    inner = "".join(_pieces(text)) + (CUT if text.is_cut else "")
    return mark_safe(f'<bdi class="shown" dir="ltr">{inner}</bdi>')  # noqa: S308  escaped


def _pieces(text: Shown) -> list[str]:
    return [_piece(piece) for piece in text.pieces]


def _piece(piece: TextPart) -> str:
    if piece.sort is Sort.PLAIN:
        return str(escape(piece.text))
    if piece.sort is Sort.BREAK:
        return '<span class="shown-break" aria-hidden="true">↵</span>\n'
    if piece.sort is Sort.RIGHT_TO_LEFT:
        return f'<bdi class="shown-rtl" title="{escape(piece.note)}">{escape(piece.text)}</bdi>'
    return (
        f'<mark class="{CLASSES[piece.sort]}" title="{escape(piece.note)}">'
        f"{escape(piece.text)}</mark>"
    )
