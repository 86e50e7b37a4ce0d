"""Frames: what changed on a run page after a cursor, as fragments that swap by id.

A frame names the cursor that it starts from and the one it leads to. A page with
another cursor drops the frame and asks again, so nothing is missed or doubled.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.template.loader import render_to_string

from audit import selectors as audit
from execfabric.lib import numbers
from execfabric.lib.actor import Actor
from orchestration.plans.pages.graph import MOST
from orchestration.runs import selectors
from orchestration.runs.models import Run
from orchestration.runs.pages import logs, run_page, tracker
from orchestration.runs.pages.logs import LogView
from orchestration.runs.pages.run_page import (
    EVENTS_SHOWN,
    FIRST_STEPS,
    NO_STEPS,
    EventLine,
    RunView,
)

GAP = 2000
"""Events after a cursor above which the whole page is redrawn."""
LARGEST = 256 * 1024
"""Characters in a frame above which the whole page is redrawn."""
STEPS, GRAPH, ARTIFACTS = "steps", "graph", "artifacts"
EVENTS, PLAN = "events", "plan"
VIEWS = (STEPS, GRAPH, ARTIFACTS, EVENTS, PLAN)
HEADS = frozenset(
    {"run-state", "run-waits", "run-result", "ctl-pause", "ctl-resume", "ctl-cancel"}
)
"""Fragments that are often unchanged, and are sent only after a change."""


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
        return Cursor(seq, {**self.log, **{at: log.end for at, log in grown.items()}})


@dataclass(frozen=True)
class Frame:
    """The changed fragments by element id, and the cursor after them."""

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
    """Read the cursor of a client; treat invalid parts as the start."""
    ends: dict[int, int] = {}
    for part in log.split(","):
        place, end = (numbers.whole(text) for text in part.partition(".")[::2])
        if place is not None and end is not None:
            ends[place] = end
    return Cursor(numbers.whole(after) or 0, ends)


@dataclass(frozen=True)
class LivePage:
    """The part of a run that one page shows."""

    run_id: UUID
    view: str = STEPS
    steps: range = FIRST_STEPS

    @classmethod
    def of(cls, run_id: UUID, query: Mapping[str, str]) -> "LivePage":
        """Read the view, and its range of listed steps, `0-200`; invalid ones default."""
        view = query.get("view", STEPS)
        shown = query.get("shown", "").partition("-")[::2]
        first, end = map(numbers.whole, shown)
        steps = FIRST_STEPS if first is None or end is None else range(first, end)
        return cls(run_id, view if view in VIEWS else STEPS, steps)

    @property
    def listed(self) -> range:
        """Return the positions of the steps that are on the page."""
        if self.view == GRAPH:
            return range(MOST)
        return self.steps if self.view == STEPS else NO_STEPS

    def parts_of(
        self, shown: RunView, by: Actor, own: Collection[str] | None = None
    ) -> dict[str, str]:
        """Return the fragments of steps; `own` are those that have changed themselves.

        Of the others only the counts of their items have changed.
        """
        if self.view == ARTIFACTS:
            context = {"tracked": tracker.tracked(by, self.run_id), "oob": True}
            html = render_to_string("runs/_run_artifacts.html", context)
            return {"run-artifacts": html}
        return _states(shown) if self.view == GRAPH else _rows(shown, own)

    def logs(self, cursor: Cursor) -> Mapping[int, int]:
        return cursor.log if self.view == STEPS else {}


def since(page: LivePage, cursor: Cursor, *, by: Actor, at: datetime) -> Frame | None:
    """Return what changed after a cursor; None if nothing did.

    :raises RunUnknown: when there is no such run for `by` any more
    """
    run = selectors.get(by, page.run_id, needs=())
    events = run_page.events(run.stream, cursor.seq, limit=GAP + 1)
    if len(events) <= GAP:
        grown = logs.views_of(run.pk, page.logs(cursor))
        if not events and not grown:
            return None
        parts = _logs(grown)
        if events:
            keys = {line.root for line in events if line.root}
            own = {line.event.step for line in events if not line.is_of_item}
            shown = run_page.view(by, run.pk, at=at, steps=page.listed, keys=keys)
            parts |= _leaves(shown) | page.parts_of(shown, by, own)
        if page.view == EVENTS:
            rows = {"rows": events}
            parts["events"] = render_to_string("runs/_events_added.html", rows)
        if sum(map(len, parts.values())) <= LARGEST:
            head = events[-1].event.seq if events else cursor.seq
            return Frame(parts, cursor, cursor.moved(head, grown), len(events))
    return snapshot(page, cursor, by=by, at=at)


def snapshot(page: LivePage, cursor: Cursor, *, by: Actor, at: datetime) -> Frame:
    """Render all live parts of the page again.

    :raises RunUnknown: when there is no such run for `by` any more
    """
    run = selectors.get(by, page.run_id, needs=())
    # The cursor is read first: what happens meanwhile is then drawn twice into the
    # same places, and never missed.
    head = audit.head(run.stream)
    grown = logs.views_of(run.pk, dict.fromkeys(page.logs(cursor), 0))
    shown = run_page.view(by, run.pk, at=at, steps=page.listed)
    parts = _logs(grown) | _leaves(shown) | page.parts_of(shown, by)
    if page.view == EVENTS:
        context = {"rows": latest(run, head), "oob": True}
        parts["events"] = render_to_string("runs/_events.html", context)
    return Frame(parts, cursor, cursor.moved(head, grown), redraw=True)


def cursor_html(
    cursor: Cursor, *, start: Cursor | None = None, redraw: bool = False
) -> str:
    """Render the cursor's element; `redraw` marks a redraw of the page."""
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
    context = {"shown": shown, "oob": True}
    parts: dict[str, str] = {
        f"run-{name}": render_to_string(f"runs/_{name}.html", context)
        for name in ("state", "waits", "rollback", "numbers")
    }
    if shown.has_ended:
        parts["run-result"] = render_to_string("runs/_result.html", context)
    for name, why_not in shown.controls.items():
        control = {"name": name, "why_not": why_not, "oob": True}
        parts[f"ctl-{name}"] = render_to_string("runs/_control.html", control)
    return parts


def _rows(shown: RunView, own: Collection[str] | None) -> dict[str, str]:
    """Render the changing parts of each row in the list of steps."""
    parts: dict[str, str] = {}
    for step in shown.steps:
        context = {"step": step, "run": shown.run, "shown": shown, "oob": True}
        is_own = own is None or step.row.key in own
        for part in ("head", "gate") if is_own else ("gate",):
            html = render_to_string(f"runs/_step_{part}.html", context)
            parts[f"{part}-{step.row.position}"] = html
    return parts


def _states(shown: RunView) -> dict[str, str]:
    """Render the state of each step in the graph, and in the graph as text."""
    parts: dict[str, str] = {}
    if shown.total > MOST:
        return parts
    for step in shown.steps:
        at = step.row.position
        for place in ("node", "line"):
            context = {"place": place, "position": at, "state": step.state, "oob": True}
            context["items"] = step.items.short if step.items else ""
            html = render_to_string("plans/_graph_state.html", context)
            parts[f"{place}-{at}"] = html
    return parts
