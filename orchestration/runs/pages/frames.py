"""Frames: what changed on a run page after a cursor, as fragments that swap by id.

A frame names the cursor that it starts from and the one it leads to. A page with
another cursor drops the frame and asks again, so nothing is missed or doubled.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.template.loader import render_to_string

from audit import selectors as audit
from execfabric.lib import numbers
from execfabric.lib.actor import Actor
from orchestration.runs import selectors
from orchestration.runs.models import Run
from orchestration.runs.pages import logs, run_page
from orchestration.runs.pages.logs import LogView
from orchestration.runs.pages.run_page import (
    EVENTS_SHOWN,
    FIRST_STEPS,
    NO_STEPS,
    EventLine,
    RunView,
)

GAP = 2000
"""More events than this after a cursor redraw the whole page."""
LARGEST = 256 * 1024
"""A frame with more characters redraws the whole page."""
STEPS, EVENTS, PLAN = "steps", "events", "plan"
VIEWS = (STEPS, EVENTS, PLAN)
HEADS = frozenset({"run-state", "run-waits", "ctl-pause", "ctl-resume", "ctl-cancel"})
"""Fragments that are often unchanged, and then not sent."""


@dataclass(frozen=True)
class Cursor:
    """The last event on a page, and the end of each log by the step's position."""

    seq: int = 0
    log: Mapping[int, int] = field(default_factory=dict)

    @property
    def log_text(self) -> str:
        """Return the ends of the logs as text: `2.140,3.99`."""
        return ",".join(f"{place}.{end}" for place, end in sorted(self.log.items()))

    def moved(self, seq: int, grown: Mapping[int, LogView]) -> "Cursor":
        """Return the cursor after these events and logs."""
        return Cursor(seq, {**self.log, **{at: log.end for at, log in grown.items()}})


@dataclass(frozen=True)
class Frame:
    """Fragments by the id of their place, and the cursor they lead to."""

    parts: Mapping[str, str]
    start: Cursor
    cursor: Cursor
    events: int = 0
    redraw: bool = False

    @property
    def html(self) -> str:
        """Return all fragments, that of the cursor last."""
        return self.besides({})

    def besides(self, sent: Mapping[str, str]) -> str:
        """Return the fragments that differ from what was sent before."""
        news = [html for place, html in self.parts.items() if sent.get(place) != html]
        end = cursor_html(self.cursor, start=self.start, redraw=self.redraw)
        return "".join([*news, end])


def parse(after: str, log: str) -> Cursor:
    """Read the cursor of a client; invalid parts count as nothing seen."""
    ends: dict[int, int] = {}
    for part in log.split(","):
        place, end = (numbers.whole(text) for text in part.partition(".")[::2])
        if place is not None and end is not None:
            ends[place] = end
    return Cursor(numbers.whole(after) or 0, ends)


def view_of(asked: Mapping[str, str]) -> str:
    """Return the view that a query string names."""
    view = asked.get("view", STEPS)
    return view if view in VIEWS else STEPS


def window(shown: str) -> range:
    """Read the range of listed steps, `0-200`; the first steps if it is invalid."""
    first, end = (numbers.whole(text) for text in shown.partition("-")[::2])
    return FIRST_STEPS if first is None or end is None else range(first, end)


def since(
    by: Actor,
    run_id: UUID,
    cursor: Cursor,
    *,
    view: str,
    at: datetime,
    steps: range = FIRST_STEPS,
) -> Frame | None:
    """Return what changed after a cursor; None if nothing did.

    :raises RunUnknown: when there is no such run for `by` any more
    """
    run = selectors.get(by, run_id, needs=())
    events = run_page.events(run.stream, cursor.seq, limit=GAP + 1)
    if len(events) <= GAP:
        grown = logs.views_of(run_id, cursor.log if view == STEPS else {})
        if not events and not grown:
            return None
        parts = _logs(grown)
        if events:
            keys = {line.event.step for line in events if line.event.step}
            listed = steps if view == STEPS else NO_STEPS
            parts |= _leaves(run_page.view(by, run_id, at=at, steps=listed, keys=keys))
        if view == EVENTS:
            rows = {"rows": events}
            parts["events"] = render_to_string("runs/_events_added.html", rows)
        if sum(map(len, parts.values())) <= LARGEST:
            head = events[-1].event.seq if events else cursor.seq
            return Frame(parts, cursor, cursor.moved(head, grown), len(events))
    return snapshot(by, run_id, cursor, view=view, at=at, steps=steps)


def snapshot(
    by: Actor,
    run_id: UUID,
    cursor: Cursor,
    *,
    view: str,
    at: datetime,
    steps: range = FIRST_STEPS,
) -> Frame:
    """Draw everything that is live on the page again.

    :raises RunUnknown: when there is no such run for `by` any more
    """
    run = selectors.get(by, run_id, needs=())
    # The cursor is read first: what happens meanwhile is then drawn twice into the
    # same places, and never missed.
    head = audit.head(run.stream)
    grown = logs.views_of(run_id, dict.fromkeys(cursor.log if view == STEPS else (), 0))
    listed = steps if view == STEPS else NO_STEPS
    parts = _logs(grown) | _leaves(run_page.view(by, run_id, at=at, steps=listed))
    if view == EVENTS:
        context = {"rows": latest(run, head), "oob": True}
        parts["events"] = render_to_string("runs/_events.html", context)
    return Frame(parts, cursor, cursor.moved(head, grown), redraw=True)


def cursor_html(
    cursor: Cursor, *, start: Cursor | None = None, redraw: bool = False
) -> str:
    """Draw the element with the cursor; `redraw` marks a redraw of the whole page."""
    context = {"cursor": cursor, "start": start, "redraw": redraw}
    return render_to_string("runs/_cursor.html", context)


def latest(run: Run, head: int, *, before: int | None = None) -> list[EventLine]:
    """Return the last events up to `head`, oldest first."""
    end = min(head, before - 1) if before is not None else head
    start = max(0, end - EVENTS_SHOWN)
    return run_page.events(run.stream, start, limit=max(0, end - start))


def _logs(grown: Mapping[int, LogView]) -> dict[str, str]:
    return {
        f"log-{place}": render_to_string(
            "runs/_log_frame.html", {"position": place, "log": log}
        )
        for place, log in grown.items()
    }


def _leaves(shown: RunView) -> dict[str, str]:
    """Draw the parts of the head and of each listed step."""
    context = {"shown": shown, "oob": True}
    parts: dict[str, str] = {
        f"run-{name}": render_to_string(f"runs/_{name}.html", context)
        for name in ("state", "waits", "numbers")
    }
    for name, why_not in shown.controls.items():
        control = {"name": name, "why_not": why_not, "oob": True}
        parts[f"ctl-{name}"] = render_to_string("runs/_control.html", control)
    for step in shown.steps:
        one_step = {"step": step, "run": shown.run, **context}
        for part in ("head", "gate"):
            html = render_to_string(f"runs/_step_{part}.html", one_step)
            parts[f"{part}-{step.row.position}"] = html
    return parts
