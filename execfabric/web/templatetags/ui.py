"""The small parts that every page is made of: badges, times, digests, JSON."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django import template
from django.templatetags.static import static
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from execfabric.lib import clock
from execfabric.web import looks
from execfabric.web.looks import Look
from execfabric.web.request_id import current as current_request_id
from execfabric.web.templatetags.shown import file_size, shown, shown_rows
from execfabric.web.values import Excerpt, excerpt

register = template.Library()
register.filter(file_size)

SHORT = 12
"""Characters of a digest that people compare by eye."""
MINUTE, HOUR, DAY = 60, 3_600, 86_400
UNITS = ((DAY, "d"), (HOUR, "h"), (MINUTE, "min"))
JUST_NOW = 10
AGENT_CHIP = mark_safe('<span class="chip">agent</span>')


@register.simple_tag
def request_id() -> str:
    """Return the id of the current request, as in the server's log."""
    return current_request_id()


@register.simple_tag
def icon(name: str, label: str = "") -> SafeString:
    """An icon of the sprite; hidden from screen readers unless it has a label."""
    href = f"{static('execfabric/icons.svg')}#{name}"
    if label:
        return format_html(
            '<svg class="icon" role="img" aria-label="{}"><use href="{}"/></svg>',
            label,
            href,
        )
    return format_html(
        '<svg class="icon" aria-hidden="true"><use href="{}"/></svg>', href
    )


@register.simple_tag
def state_badge(state: str) -> SafeString:
    """A state as icon, word and colour."""
    return _badge(looks.of_state(str(state)), state=str(state))


@register.simple_tag
def state_badge_as(state: str, words: str) -> SafeString:
    """Other words in the look of a state, for events that lead to it."""
    return _badge(replace(looks.of_state(str(state)), word=words), state=str(state))


@register.simple_tag
def state_icon(state: str) -> SafeString:
    """Draw the icon of a state in its color, beside a sentence that says it."""
    look = looks.of_state(str(state))
    return format_html(
        '<span class="state-icon tone-{}">{}</span>', look.tone, icon(look.icon)
    )


@register.simple_tag
def risk_badge(risk: str) -> SafeString:
    """A risk as icon, word and colour."""
    return _badge(looks.of_risk(str(risk)), state=str(risk))


@register.filter
def effect_words(effect_class: str) -> str:
    """What repeating an action would do, as a sentence."""
    return looks.EFFECTS.get(str(effect_class), str(effect_class))


@register.filter
def channel_words(channel: str) -> str:
    """Return where a decision was made, as words after the decision."""
    return looks.CHANNELS.get(channel, f"through {channel}")


@register.filter
def state_word(state: str) -> str:
    """The word for a state."""
    return looks.of_state(str(state)).word


@register.filter
def state_tone(state: str) -> str:
    """The tone of a state, for parts that take its colour."""
    return str(looks.of_state(str(state)).tone)


@register.simple_tag
def time(at: datetime | None, missing: str = "—") -> SafeString | str:
    """A moment: how long ago or until then, the absolute UTC time on hover."""
    if at is None:
        return missing
    return format_html(
        '<time datetime="{}" title="{}" data-relative>{}</time>',
        clock.stamp(at),
        at.strftime("%Y-%m-%d %H:%M:%S UTC"),
        relative(at - clock.now()),
    )


@register.simple_tag
def clock_time(at: datetime) -> SafeString:
    """A moment to the millisecond, for lists where the order counts."""
    return format_html(
        '<time class="mono" datetime="{}" title="{}">{}</time>',
        clock.stamp(at),
        at.strftime("%Y-%m-%d %H:%M:%S.%f UTC"),
        at.strftime("%H:%M:%S.%f")[:-3],
    )


@register.simple_tag
def duration(start: datetime | None, end: datetime | None = None) -> SafeString | str:
    """How long something took; while it has no end, the page counts on."""
    if start is None:
        return "—"
    if end is not None:
        return format_html(
            '<span class="num">{}</span>', span((end - start).total_seconds())
        )
    return format_html(
        '<span class="num" data-since="{}">{}</span>',
        clock.stamp(start),
        span((clock.now() - start).total_seconds()),
    )


@register.simple_tag
def digest(value: str | bytes | memoryview, label: str = "digest") -> SafeString:
    """A digest in short form, whole on hover and by the copy button."""
    text = value if isinstance(value, str) else bytes(value).hex()
    return format_html(
        '<span class="digest"><code title="{}">{}</code>'
        '<button type="button" class="copy" data-copy="{}" aria-label="Copy {}">{}'
        "</button></span>",
        text,
        text[:SHORT],
        text,
        label,
        icon("copy"),
    )


@register.simple_tag
def json_block(value: Any, caption: str = "", href: str = "") -> SafeString:
    """Draw a JSON value, or the start of a large one with a link to the rest."""
    part = value if isinstance(value, Excerpt) else excerpt(value)
    size = format_html('<span class="num">{}</span>', file_size(part.bytes))
    return format_html(
        '<figure class="json"><figcaption>{}{}</figcaption>{}'
        '<div class="json-scroll" tabindex="0" role="group" aria-label="{}">{}</div>'
        "</figure>",
        caption,
        size if part.is_cut else "",
        _collapsed(part, href) if part.is_cut else "",
        caption or "Value",
        shown_rows(part.rows),
    )


def _collapsed(part: Excerpt, href: str) -> SafeString:
    """Draw the note of a collapsed value: how much is shown, and where the rest is."""
    link = format_html('<a href="{}" download>Download the value</a>', href)
    warned = format_html_join(
        "",
        '<p class="value-warning">Whole value: {}</p>',
        ((w,) for w in part.warnings),
    )
    return format_html(
        '<div class="json-cut" data-testid="collapsed"><p><strong>Collapsed.</strong> '
        "Showing {} of {} lines. {}</p>"
        '<p>SHA-256 of the whole value ({} bytes): <code class="break">{}</code></p>{}'
        "</div>",
        part.lines,
        part.total_lines,
        link if href else "",
        part.bytes,
        part.sha256,
        warned,
    )


@register.simple_tag
def actor(key: str, name: str, owner: str = "") -> SafeString:
    """A person, an agent (with whoever answers for it) or a part of the product."""
    kind = key.partition(":")[0]
    behalf = format_html(' <span class="quiet">for {}</span>', owner) if owner else ""
    label = {"agent": "Agent", "system": "System"}.get(kind, "Person")
    return format_html(
        '<span class="actor actor-{}" title="{} {}">{}{}{}</span>{}',
        kind,
        label,
        key,
        icon({"agent": "agent", "system": "gear"}.get(kind, "person")),
        shown(name),
        AGENT_CHIP if kind == "agent" else "",
        behalf,
    )


@register.filter
def at_key(mapping: dict[str, Any], key: str) -> Any:
    """The value of a key; nothing where the key is missing."""
    return mapping.get(key)


@register.filter
def cut_words(text: str) -> list[str]:
    """The words of a text, to loop over a few fixed names."""
    return text.split()


def relative(delta: timedelta) -> str:
    """`5 min ago`, `in 2 h 30 min`, `just now`; what is to come is told more exactly."""
    seconds = delta.total_seconds()
    if abs(seconds) < JUST_NOW:
        return "just now"
    return f"in {_until(seconds)}" if seconds > 0 else f"{_coarse(-seconds)} ago"


def span(seconds: float) -> str:
    """`840 ms`, `12.4 s`, `3 min 05 s`, `2 h 10 min`."""
    if seconds < 1:
        return f"{max(0, seconds) * 1000:.0f} ms"
    if seconds < MINUTE:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < HOUR:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < DAY:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def _coarse(seconds: float) -> str:
    for size, unit in UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s"


def _until(seconds: float) -> str:
    """Two units, rounded: a week less a second is a week, and half a day is no day."""
    whole = round(seconds)
    if whole < MINUTE:
        return f"{whole} s"
    minutes = round(whole / MINUTE)
    if minutes < HOUR // MINUTE:
        return f"{minutes} min"
    if minutes < DAY // MINUTE:
        return _joined(minutes // 60, "h", minutes % 60, "min")
    hours = round(whole / HOUR)
    return _joined(hours // 24, "d", hours % 24, "h")


def _joined(large: int, unit: str, small: int, part: str) -> str:
    return f"{large} {unit} {small} {part}" if small else f"{large} {unit}"


def _badge(look: Look, *, state: str) -> SafeString:
    return format_html(
        '<span class="badge tone-{}" data-state="{}">{}{}</span>',
        look.tone,
        state,
        icon(look.icon),
        look.word,
    )
