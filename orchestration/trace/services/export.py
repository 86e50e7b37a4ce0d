"""The audit log as CSV and JSON, page by page, newest event first."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any

from audit.selectors import Event, cursor_of
from execfabric.lib.clock import stamp
from orchestration.trace.selectors import LogFilter, search
from orchestration.trace.services.log import LogLine, lines

MOST = 100_000
"""Maximum events in one file, whose end says if older events are missing."""
PAGE = 500
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""First characters that make a spreadsheet read a text as a formula."""
COLUMNS: dict[str, Callable[[LogLine], object]] = {
    "at": lambda line: stamp(line.event.at),
    "stream": attrgetter("event.stream_id"),
    "seq": attrgetter("event.seq"),
    "kind": attrgetter("event.kind"),
    "sentence": attrgetter("text"),
    "note": attrgetter("note"),
    "code": attrgetter("code"),
    "actor": attrgetter("event.actor"),
    "actor_name": attrgetter("event.actor_name"),
    "channel": attrgetter("channel"),
    "run": attrgetter("run"),
    "run_name": attrgetter("run_name"),
    "step": attrgetter("event.step"),
    "approval": attrgetter("gate"),
    "trace_id": attrgetter("event.trace_id"),
    "hash": attrgetter("hash"),
}


def as_csv(query: LogFilter, *, most: int = MOST) -> Iterator[bytes]:
    """Return the matching events as CSV without formulas."""
    yield _csv([COLUMNS])
    for events, is_cut in _pages(query, most):
        readers = COLUMNS.values()
        yield _csv([[read(line) for read in readers] for line in lines(events)])
        if is_cut:
            sentence = f"Showing the newest {most} events. Older events match too."
            yield _csv([[stamp(events[-1].at), "", "", "export.cut", sentence]])


def as_json(query: LogFilter, *, most: int = MOST) -> Iterator[bytes]:
    """Return the matching events as a JSON object with the fields of the API."""
    yield b'{"items":['
    cursor, separator = None, ""
    for events, is_cut in _pages(query, most):
        items = [json.dumps(_item(line), ensure_ascii=False) for line in lines(events)]
        yield (separator + ",\n".join(items)).encode()
        separator = ",\n"
        cursor = cursor_of(events[-1]) if is_cut else None
    yield f'],"next":{json.dumps(cursor)}}}\n'.encode()


def _pages(query: LogFilter, most: int) -> Iterator[tuple[Sequence[Event], bool]]:
    """Yield pages of events; the second value is true if the limit cuts off the rest."""
    before, left = None, most
    while left:
        size = min(PAGE, left)
        found = list(search(query, before=before)[: size + 1])
        page, left = found[:size], left - size
        if page:
            yield page, not left and len(found) > size
        if len(found) <= size:
            return
        before = page[-1]


def _item(line: LogLine) -> dict[str, Any]:
    if isinstance(line.envelope, dict):
        return {**line.envelope, "hash": line.hash}
    event = line.event
    place = {"stream": event.stream_id, "seq": event.seq, "kind": event.kind}
    return {**place, "unreadable": line.envelope, "hash": line.hash}


def _csv(rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([[_harmless(cell) for cell in row] for row in rows])
    return text.getvalue().encode()


def _harmless(cell: object) -> object:
    """Put an apostrophe before a text that a spreadsheet would calculate."""
    is_formula = isinstance(cell, str) and cell.startswith(FORMULA)
    return f"'{cell}" if is_formula else cell
