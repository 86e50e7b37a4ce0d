"""Draws text from strangers, and whole JSON values, as marked HTML.

Built here and not in a template: a value can have a hundred thousand lines.
"""

from typing import Any

from django import template
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from execfabric.console import values
from execfabric.console.shown import Piece, Shown, Sort
from execfabric.console.shown import shown as shown_text

register = template.Library()

CLASSES = {
    Sort.MARK: "shown-mark",
    Sort.ALIKE: "shown-mark shown-alike",
    Sort.RIGHT_TO_LEFT: "shown-rtl",
}


@register.filter
def shown(value: object) -> SafeString:
    """A text in full, with whatever could deceive marked."""
    return _text(shown_text(str(value if value is not None else "")))


@register.filter
def shown_warnings(value: object) -> tuple[str, ...]:
    """The sentences about what was marked in a text."""
    return shown_text(str(value if value is not None else "")).warnings


@register.filter
def shown_value(value: Any) -> SafeString:
    """A JSON value in full as a list of names and values."""
    return mark_safe(  # noqa: S308  every part is escaped where it is made
        '<div class="value" role="list">'
        + "".join(_row(row) for row in values.rows(value))
        + "</div>"
    )


@register.filter
def byte_count(value: Any) -> int:
    """The size of a JSON value's canonical form in bytes."""
    return values.size_of(value)


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
        note = "secret reference, its value is never shown"
        return f'<span class="value-secret">{text}</span><span class="value-size">{note}</span>'
    if row.kind != "text":
        return f'<span class="value-plain">{text}</span>'
    unit = "byte" if row.value.bytes == 1 else "bytes"
    size = f'<span class="value-size">{row.value.bytes} {unit}</span>'
    warned = "".join(
        f'<span class="value-warning">{escape(sentence)}</span>'
        for sentence in row.value.warnings
    )
    return f'<span class="value-text">{text}</span>{size}{warned}'


def _text(text: Shown) -> SafeString:
    inner = "".join(_piece(piece) for piece in text.pieces)
    return mark_safe(f'<bdi class="shown" dir="ltr">{inner}</bdi>')  # noqa: S308  escaped


def _piece(piece: Piece) -> str:
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
