"""Store the log of a step: its head and its tail; the part between is only counted.

Each piece has its position in the whole log, so a gap is visible.
"""

import logging
import time
from collections import deque
from dataclasses import dataclass
from uuid import UUID

from django.db import IntegrityError, connection, transaction

from execfabric.infra import database
from execfabric.lib import clock
from orchestration.runs import live
from orchestration.runs.domain.states import StepState
from orchestration.runs.models import LogChunk, StepRun
from orchestration.runs.worker import outage

logger = logging.getLogger(__name__)

HEAD = 512 * 1024
"""Characters stored from the start of an attempt's log."""
TAIL = 512 * 1024
"""Characters stored from the end of an attempt's log, plus at most PIECE."""
PIECE = 64 * 1024
"""Maximum characters in one row."""
EVERY_S = 0.25
TAIL_EVERY_S = 1.0
"""Seconds between writes after the head; each replaces an earlier one."""


@dataclass(frozen=True)
class LogPiece:
    """A part of an attempt's log."""

    at: int
    """Characters of the log before this part."""
    line: int
    """Line breaks of the log before this part."""
    text: str

    @property
    def end(self) -> int:
        return self.at + len(self.text)


class Window:
    """The head and the tail of a text that arrives in pieces; bounded in memory."""

    def __init__(self) -> None:
        self._head: list[LogPiece] = []
        self._tail: deque[LogPiece] = deque()
        self.end = 0
        self._line = 0

    def add(self, text: str) -> None:
        while text:
            is_head = self.end < HEAD
            size = min(PIECE, HEAD - self.end) if is_head else PIECE
            piece = LogPiece(self.end, self._line, text[:size])
            (self._head if is_head else self._tail).append(piece)
            self.end = piece.end
            self._line += piece.text.count("\n")
            text = text[size:]
        while self._tail and self._tail[0].end <= self.end - TAIL:
            self._tail.popleft()

    def take(self) -> list[LogPiece]:
        """Return the text since the last call, in large pieces."""
        taken: list[LogPiece] = []
        for piece in (*self._head, *self._tail):
            last = taken[-1] if taken else None
            if last and last.end == piece.at and piece.end - last.at <= PIECE:
                taken[-1] = LogPiece(last.at, last.line, last.text + piece.text)
            else:
                taken.append(piece)
        self._head.clear()
        self._tail.clear()
        return taken


class StepLog:
    """The log of one attempt. Errors here never fail the step."""

    def __init__(self, *, run_id: UUID, step_run_id: UUID, fence: int) -> None:
        self._run_id = run_id
        self._step_run_id = step_run_id
        self._fence = fence
        self._window = Window()
        self._sending: list[LogPiece] = []
        """Pieces taken from the window that may not be stored yet."""
        self._base: tuple[int, int] | None = None
        """Characters and line breaks in the step's log before this attempt."""
        self._written_at = time.monotonic()

    @property
    def is_empty(self) -> bool:
        return self._window.end == 0

    def add(self, text: str) -> None:
        """Add log output of the handler."""
        try:
            self._window.add(text)
        except Exception:
            logger.exception("Cannot add to the log of %s.", self._step_run_id)

    def write_due(self) -> None:
        """Store new output, if it is time."""
        every = EVERY_S if self._window.end <= HEAD else TAIL_EVERY_S
        if time.monotonic() - self._written_at >= every:
            self._write()

    def close(self) -> None:
        """Store the rest, with one retry on a new connection."""
        self._write()
        self._write()

    def settle(self) -> None:
        """Wait until no write whose answer was lost can be stored any more.

        The end of the attempt records a digest of its log, so no text may follow it.

        :raises OperationalError: when the database is unreachable
        """
        if self._sending:
            self._write()
        if self._sending:
            with transaction.atomic():
                self._lock_attempt()

    def _write(self) -> None:
        is_repeated = bool(self._sending)
        self._sending = self._sending or self._window.take()
        if not self._sending:
            return
        try:
            self._store(is_repeated=is_repeated)
        except outage.TRANSIENT:
            connection.close()
        except IntegrityError:
            # An attempt that has lost its lease wrote here: continue after it.
            self._base = None
        except Exception:
            logger.exception("Cannot store a part of the log of %s.", self._step_run_id)
            self._sending = []
            database.leave_transaction()
        else:
            self._sending = []
            live.run_changed(self._run_id)
        self._written_at = time.monotonic()

    @transaction.atomic
    def _store(self, *, is_repeated: bool) -> None:
        # Locked, so that no one ends the attempt and records its log meanwhile.
        if not self._lock_attempt():
            return  # the attempt is over, and its log is in the record
        start, line = self._base = self._base or self._find_base()
        rows = [
            LogChunk(
                step_run_id=self._step_run_id,
                fence=self._fence,
                offset=start + piece.at,
                line=line + piece.line,
                text=piece.text,
                at=clock.now(),
            )
            for piece in self._sending
        ]
        own = LogChunk.objects.filter(step_run_id=self._step_run_id, fence=self._fence)
        if is_repeated and own.filter(offset=rows[0].offset).exists():
            return  # already stored; only the answer was lost
        LogChunk.objects.bulk_create(rows)
        end = self._sending[-1].end
        if end > HEAD + TAIL + PIECE:
            past = start + end - TAIL - PIECE
            own.filter(offset__gte=start + HEAD, offset__lt=past).delete()

    def _lock_attempt(self) -> bool:
        """Lock the row of the attempt's step; return False if the attempt is over."""
        mine = StepRun.objects.filter(
            pk=self._step_run_id, fence=self._fence, state=StepState.RUNNING
        )
        return bool(mine.select_for_update(no_key=True).values_list("pk").first())

    def _find_base(self) -> tuple[int, int]:
        first = self._sending[0]
        chunks = LogChunk.objects.filter(step_run_id=self._step_run_id)
        last = chunks.order_by("-offset").first()
        if last is None:
            return 0, 0
        end, lines = last.offset + len(last.text), last.line or 0
        return end - first.at, lines + last.text.count("\n") - first.line
