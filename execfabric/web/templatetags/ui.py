"""Template tags for badges, times, digests and JSON."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django import template
from django.templatetags.static import static
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from execfabric.lib import clock
from execfabric.lib.clock import DAY, HOUR, MINUTE
from execfabric.web import looks
from execfabric.web.looks import Look
from execfabric.web.request_id import current as current_request_id
from execfabric.web.templatetags.shown import file_size, shown, shown_rows
from execfabric.web.values import Excerpt, excerpt

register = template.Library()
register.filter(file_size)

UNITS = ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute"), (1, "second"))
JUST_NOW = 10
LISTED_IDS = 20
HIDDEN = mark_safe('aria-hidden="true"')
AGENT_CHIP = mark_safe('<span class="chip">agent</span>')


@register.simple_tag
def request_id() -> str:
    """Return the id of the current request, as in the server's log."""
    return current_request_id()


@register.simple_tag
def icon(name: str, label: str = "") -> SafeString:
    """Render an icon; screen readers announce it only if it has a label."""
    href = f"{static('execfabric/icons.svg')}#{name}"
    role = format_html('role="img" aria-label="{}"', label) if label else HIDDEN
    return format_html('<svg class="icon" {}><use href="{}"/></svg>', role, href)


@register.simple_tag
def state_badge(state: str, words: str = "") -> SafeString:
    """Draw a state; its events have words of their own in the look of the state."""
    look = looks.of_state(str(state))
    return _badge(replace(look, word=words or look.word), state=str(state))


@register.simple_tag
def state_icon(state: str) -> SafeString:
    """Render the icon of a state in its color, for use next to a sentence."""
    look = looks.of_state(str(state))
    return format_html(
        '<span class="state-icon tone-{}">{}</span>', look.tone, icon(look.icon)
    )


@register.simple_tag
def risk_badge(risk: str) -> SafeString:
    return _badge(looks.RISKS.get(str(risk), looks.UNKNOWN), state=str(risk))


@register.filter
def effect_words(effect_class: str) -> str:
    return looks.EFFECTS.get(str(effect_class), str(effect_class))


@register.filter
def listed_ids(ids: Sequence[str]) -> SafeString:
    """Render ids as code: the first ones, and the number of the others."""
    rows = ((shown(one),) for one in ids[:LISTED_IDS])
    listed = format_html_join(", ", "<code>{}</code>", rows)
    more = len(ids) - LISTED_IDS
    return format_html("{} and {} more", listed, more) if more > 0 else listed


@register.filter
def channel_words(channel: str) -> str:
    """Return where a decision was made, as words after the decision."""
    return looks.CHANNELS.get(channel, f"through {channel}")


@register.filter
def state_word(state: str) -> str:
    return looks.of_state(str(state)).word


@register.simple_tag
def time(at: datetime | None, missing: str = "—") -> SafeString | str:
    """Render a time relative to now; the UTC time is shown on hover."""
    if at is None:
        return missing
    return format_html(
        '<time datetime="{}" title="{}" data-relative>{}</time>',
        clock.stamp(at),
        f"{at:%Y-%m-%d %H:%M:%S} UTC",
        relative(at - clock.now()),
    )


@register.simple_tag
def clock_time(at: datetime) -> SafeString:
    """Render a time to the millisecond: UTC, or local time with JavaScript."""
    text = at.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + " UTC"
    return format_html(
        '<time class="mono" datetime="{}" title="{}" data-local="ms">{}</time>',
        clock.stamp(at),
        text,
        text,
    )


@register.simple_tag
def duration(start: datetime | None, end: datetime | None = None) -> SafeString | str:
    """Render a duration; the page keeps counting until there is an end."""
    if start is None:
        return "—"
    text = clock.duration_text(((end or clock.now()) - start).total_seconds())
    if end is not None:
        return format_html('<span class="num">{}</span>', text)
    since = clock.stamp(start)
    return format_html('<span class="num" data-since="{}">{}</span>', since, text)


@register.simple_tag
def digest(value: str | bytes | memoryview, label: str = "digest") -> SafeString:
    """Render a shortened digest; the tooltip and copy button give all of it."""
    text = value if isinstance(value, str) else bytes(value).hex()
    return format_html(
        '<span class="digest"><code title="{}">{}</code>'
        '<button type="button" class="copy" data-copy="{}" aria-label="Copy {}">{}'
        "</button></span>",
        text,
        text[:12],
        text,
        label,
        icon("copy"),
    )


@register.simple_tag
def json_block(value: Any, caption: str = "", href: str = "") -> SafeString:
    """Render a JSON value, or the start of a large one and a link to all."""
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
    """Render the note on a collapsed value: its size, and where the rest is."""
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
    """Render the name of a user, an agent and its owner, or a component."""
    kind = key.partition(":")[0]
    behalf = format_html(' <span class="quiet">for {}</span>', owner) if owner else ""
    look = {"agent": ("Agent", "agent"), "system": ("System", "gear")}
    label, sign = look.get(kind, ("Person", "person"))
    return format_html(
        '<span class="actor actor-{}" title="{} {}">{}{}{}</span>{}',
        kind,
        label,
        key,
        icon(sign),
        shown(name),
        AGENT_CHIP if kind == "agent" else "",
        behalf,
    )


def relative(delta: timedelta) -> str:
    """Return a relative time, such as "5 minutes ago" or "in 2 hours".

    Neither `humanize` nor Django's `timeuntil` rounds a week less a second to a week,
    and `ui.js` must continue in the same words.
    """
    seconds = delta.total_seconds()
    if abs(seconds) < JUST_NOW:
        return "just now"
    return f"in {_until(seconds)}" if seconds > 0 else f"{_since(-seconds)} ago"


def _since(seconds: float) -> str:
    size, unit = next((size, unit) for size, unit in UNITS if seconds >= size)
    return _count(int(seconds // size), unit)


def _until(seconds: float) -> str:
    """Return the time until an event, in at most two units."""
    minutes, hours = round(seconds / MINUTE), round(seconds / HOUR)
    if round(seconds) < MINUTE:
        return _count(round(seconds), "second")
    if minutes < HOUR // MINUTE:
        return _count(minutes, "minute")
    if minutes < DAY // MINUTE:
        return _two(minutes // 60, "hour", minutes % 60, "minute")
    return _two(hours // 24, "day", hours % 24, "hour")


def _two(large: int, unit: str, small: int, part: str) -> str:
    return _count(large, unit) + (f" {_count(small, part)}" if small else "")


def _count(number: int, unit: str) -> str:
    return f"{number} {unit}" + ("" if number == 1 else "s")


def _badge(look: Look, *, state: str) -> SafeString:
    return format_html(
        '<span class="badge tone-{}" data-state="{}">{}{}</span>',
        look.tone,
        state,
        icon(look.icon),
        look.word,
    )
