"""Frames: what changed on a run page behind a cursor, as fragments that swap by id.

A frame names the cursor that it starts from and the one it leads to. A page whose
cursor is another drops it and asks again, so nothing is missed or doubled.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.template.loader import render_to_string

from audit import selectors as audit
from execfabric.lib.actor import Actor
from orchestration.runs import selectors
from orchestration.runs.models import Run
from orchestration.runs.services import logs, run_page
from orchestration.runs.services.logs import LogView
from orchestration.runs.services.run_page import (
    EVENTS_SHOWN,
    FIRST_STEPS,
    NO_STEPS,
    EventView,
    RunView,
    Window,
)

GAP = 2000
"""Events behind a cursor from which on the page is drawn anew."""
LARGEST = 256 * 1024
"""Characters of a frame from which on the page is drawn anew."""
STEPS, EVENTS, PLAN = "steps", "events", "plan"
VIEWS = (STEPS, EVENTS, PLAN)
HEADS = frozenset({"run-state", "run-waits", "ctl-pause", "ctl-resume", "ctl-cancel"})
"""Places whose content often stays the same from frame to frame."""


@dataclass(frozen=True)
class Cursor:
    """Up to where a page has seen the events, and by position each log that it shows."""

    seq: int = 0
    log: Mapping[int, int] = field(default_factory=dict)

    @property
    def log_text(self) -> str:
        """The log part as it stands in the page and in addresses: `2.140,3.99`."""
        return ",".join(f"{place}.{end}" for place, end in sorted(self.log.items()))


@dataclass(frozen=True)
class Frame:
    """Fragments by the id of their place, and the cursor they lead to."""

    parts: Mapping[str, str]
    end: str
    """The fragment of the cursor; it comes last."""
    cursor: Cursor
    events: int

    @property
    def html(self) -> str:
        """All fragments."""
        return "".join(self.parts.values()) + self.end

    def besides(self, sent: Mapping[str, str]) -> str:
        """The fragments that are not the same as what was sent before."""
        news = [html for place, html in self.parts.items() if sent.get(place) != html]
        return "".join(news) + self.end


def parse(after: str, log: str) -> Cursor:
    """The cursor that a client sent; what makes no sense counts as nothing seen."""
    ends: dict[int, int] = {}
    for part in log.split(","):
        place, _, end = part.partition(".")
        if _is_number(place) and _is_number(end):
            ends[int(place)] = int(end)
    return Cursor(int(after) if _is_number(after) else 0, ends)


def window(shown: str) -> Window:
    """The steps that a page lists, as it says: `0-200`; the first ones otherwise."""
    first, _, end = shown.partition("-")
    if _is_number(first) and _is_number(end):
        return Window(int(first), int(end))
    return FIRST_STEPS


def since(
    by: Actor,
    run_id: UUID,
    cursor: Cursor,
    *,
    view: str,
    at: datetime,
    steps: Window = FIRST_STEPS,
) -> Frame | None:
    """What changed behind a cursor; None where nothing did.

    :raises RunUnknown: when there is no such run for `by` any more
    """
    run = selectors.outline(by, run_id)
    events = run_page.events(run.stream, cursor.seq, limit=GAP + 1)
    if len(events) > GAP:
        return snapshot(by, run_id, cursor, view=view, at=at, steps=steps)
    grown = logs.views_of(run_id, cursor.log) if view == STEPS else {}
    if not events and not grown:
        return None
    reached = Cursor(events[-1].seq if events else cursor.seq, _ends(cursor, grown))
    parts: dict[str, str] = {}
    if events:
        keys = {event.step for event in events if event.step}
        listed = steps if view == STEPS else NO_STEPS
        shown = run_page.view(by, run_id, at=at, steps=listed, keys=keys)
        parts |= _leaves(shown)
    if view == EVENTS:
        parts["events"] = _rows(events)
    parts |= _logs(grown)
    if sum(map(len, parts.values())) > LARGEST:
        return snapshot(by, run_id, cursor, view=view, at=at, steps=steps)
    end = cursor_html(reached, start=cursor)
    return Frame(parts, end, reached, len(events))


def snapshot(
    by: Actor,
    run_id: UUID,
    cursor: Cursor,
    *,
    view: str,
    at: datetime,
    steps: Window = FIRST_STEPS,
) -> Frame:
    """Everything that is live on the page, drawn again.

    :raises RunUnknown: when there is no such run for `by` any more
    """
    run = selectors.outline(by, run_id)
    # The cursor is read first: what happens meanwhile is then drawn twice into the
    # same places, and never missed.
    head = audit.head(run.stream)
    everything = dict.fromkeys(cursor.log, 0)
    grown = logs.views_of(run_id, everything) if view == STEPS else {}
    reached = Cursor(head, _ends(cursor, grown))
    listed = steps if view == STEPS else NO_STEPS
    parts = _leaves(run_page.view(by, run_id, at=at, steps=listed))
    if view == EVENTS:
        context = {"rows": latest(run, head), "oob": True}
        parts["events"] = render_to_string("runs/_events.html", context)
    parts |= _logs(grown)
    end = cursor_html(reached, start=cursor, anew=True)
    return Frame(parts, end, reached, 0)


def heartbeat(cursor: Cursor) -> str:
    """A frame that says only that the server is there."""
    return cursor_html(cursor, start=cursor)


def cursor_html(
    cursor: Cursor, *, start: Cursor | None = None, anew: bool = False
) -> str:
    """The element that keeps a page's cursor; `anew` marks a page drawn as a whole."""
    context = {"cursor": cursor, "start": start, "anew": anew}
    return render_to_string("runs/_cursor.html", context)


def latest(run: Run, head: int, *, before: int | None = None) -> list[EventView]:
    """The last events up to `head`, oldest first."""
    end = min(head, before - 1) if before is not None else head
    start = max(0, end - EVENTS_SHOWN)
    return run_page.events(run.stream, start, limit=max(0, end - start))


def _ends(cursor: Cursor, grown: Mapping[int, LogView]) -> dict[int, int]:
    return {**cursor.log, **{place: log.end for place, log in grown.items()}}


def _logs(grown: Mapping[int, LogView]) -> dict[str, str]:
    return {
        f"log-{place}": render_to_string(
            "runs/_log_frame.html", {"position": place, "log": log}
        )
        for place, log in grown.items()
    }


def _leaves(shown: RunView) -> dict[str, str]:
    """The parts of the head, and of the line of each touched step."""
    context = {"shown": shown, "oob": True}
    parts: dict[str, str] = {
        name: render_to_string(f"runs/{template}.html", context)
        for name, template in (
            ("run-state", "_state"),
            ("run-waits", "_waits"),
            ("run-numbers", "_numbers"),
        )
    }
    for control in shown.controls.values():
        one = {"control": control, "oob": True}
        parts[f"ctl-{control.name}"] = render_to_string("runs/_control.html", one)
    for step in shown.steps:
        one_step = {"step": step, "run": shown.run, "oob": True}
        for part in ("head", "gate"):
            html = render_to_string(f"runs/_step_{part}.html", one_step)
            parts[f"{part}-{step.row.position}"] = html
    return parts


def _rows(events: list[EventView]) -> str:
    return render_to_string("runs/_events_added.html", {"rows": events})


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= len(str(2**53))
