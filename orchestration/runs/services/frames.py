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
from orchestration.runs.services import run_page
from orchestration.runs.services.run_page import EVENTS_SHOWN, EventView, RunView

GAP = 2000
"""Events behind a cursor from which on the page is drawn anew."""
LARGEST = 256 * 1024
"""Characters of a frame from which on the page is drawn anew."""
STEPS, EVENTS, PLAN = "steps", "events", "plan"
VIEWS = (STEPS, EVENTS, PLAN)


@dataclass(frozen=True)
class Cursor:
    """Up to where a page has seen the events, and the log of each step by position."""

    seq: int = 0
    log: Mapping[int, int] = field(default_factory=dict)

    @property
    def log_text(self) -> str:
        """The log part as it stands in the page and in addresses: `2.140,3.99`."""
        return ",".join(f"{place}.{end}" for place, end in sorted(self.log.items()))


@dataclass(frozen=True)
class Frame:
    """Fragments, and the cursor they lead to."""

    html: str
    cursor: Cursor
    events: int


def parse(after: str, log: str) -> Cursor:
    """The cursor that a client sent; what makes no sense counts as nothing seen."""
    ends: dict[int, int] = {}
    for part in log.split(","):
        place, _, end = part.partition(".")
        if _is_number(place) and _is_number(end):
            ends[int(place)] = int(end)
    return Cursor(int(after) if _is_number(after) else 0, ends)


def since(
    by: Actor, run_id: UUID, cursor: Cursor, *, view: str, at: datetime
) -> Frame | None:
    """What changed behind a cursor; None where nothing did.

    :raises RunUnknown: when there is no such run for `by` any more
    """
    run = selectors.get(by, run_id)
    events = run_page.events(run.stream, cursor.seq, limit=GAP + 1)
    if len(events) > GAP:
        return snapshot(by, run_id, cursor, view=view, at=at)
    tails = selectors.log_tails(run, cursor.log) if view == STEPS else {}
    if not events and not tails:
        return None
    reached = Cursor(
        events[-1].seq if events else cursor.seq,
        {**cursor.log, **{place: tail.end for place, tail in tails.items()}},
    )
    parts = []
    if events:
        keys = {event.step for event in events if event.step}
        shown = run_page.view(by, run_id, at=at, keys=keys)
        parts.append(_leaves(shown, view=view))
    if view == EVENTS:
        parts.append(_rows(events))
    parts.append(render_to_string("runs/_log_tails.html", {"tails": tails}))
    html = "".join(parts)
    if len(html) > LARGEST:
        return snapshot(by, run_id, cursor, view=view, at=at)
    return Frame(html + cursor_html(reached, start=cursor), reached, len(events))


def snapshot(
    by: Actor, run_id: UUID, cursor: Cursor, *, view: str, at: datetime
) -> Frame:
    """Everything that is live on the page, drawn anew.

    :raises RunUnknown: when there is no such run for `by` any more
    """
    run = selectors.get(by, run_id)
    # The cursor is read first: what happens meanwhile is then drawn twice into the
    # same places, and never missed.
    head = audit.head(run.stream)
    tails = selectors.log_tails(run, {}) if view == STEPS else {}
    reached = Cursor(head, {place: tail.end for place, tail in tails.items()})
    shown = run_page.view(by, run_id, at=at, keys=None if view == STEPS else ())
    parts = [_leaves(shown, view=view)]
    if view == EVENTS:
        context = {"rows": latest(run, head), "oob": True}
        parts.append(render_to_string("runs/_events.html", context))
    for place, tail in tails.items():
        context = {"position": place, "tail": tail, "oob": True}
        parts.append(render_to_string("runs/_log.html", context))
    html = "".join(parts) + cursor_html(reached, start=cursor, anew=True)
    return Frame(html, reached, 0)


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


def _leaves(shown: RunView, *, view: str) -> str:
    """The parts of the head, and of each touched step."""
    context = {"shown": shown, "oob": True}
    parts = [
        render_to_string("runs/_state.html", context),
        render_to_string("runs/_waits.html", context),
        render_to_string("runs/_numbers.html", context),
    ]
    for control in shown.controls.values():
        one = {"control": control, "oob": True}
        parts.append(render_to_string("runs/_control.html", one))
    if view == STEPS:
        for step in shown.steps:
            one_step = {"step": step, "run": shown.detail.run, "oob": True}
            parts += [
                render_to_string(f"runs/_step_{part}.html", one_step)
                for part in ("head", "gate", "body")
            ]
    return "".join(parts)


def _rows(events: list[EventView]) -> str:
    return render_to_string("runs/_events_added.html", {"rows": events})


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= len(str(2**53))
