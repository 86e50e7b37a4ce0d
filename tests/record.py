"""What tests read from the audit log."""

from typing import Any, Protocol

from audit import selectors as audit
from orchestration.trace.services import streams


class Recorded(Protocol):
    """A row with a stream of events: a run, a schedule, a webhook."""

    @property
    def stream(self) -> str: ...


def payloads(row: Recorded, kind: str) -> list[dict[str, Any]]:
    """Return the payloads of the events of a kind, in order."""
    events = audit.events_after(row.stream, 0, limit=500)
    return [audit.envelope(one)["payload"] for one in events if one.kind == kind]


def kinds(row: Recorded, step: str | None = None) -> list[str]:
    """Return the kinds of all events, or of those of one step, in order."""
    events = audit.events_after(row.stream, 0, limit=500)
    return [one.kind for one in events if step in {None, one.step}]


def is_whole(row: Recorded) -> bool:
    """Return True if the events and the rows that they record are unchanged."""
    result = streams.verify_stream(row.stream)
    return result.whole and result.uncovered == 0
