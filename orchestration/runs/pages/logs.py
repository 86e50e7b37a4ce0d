"""Read the log of a step: the part for its page, or all that is stored."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Max, QuerySet

from orchestration.runs.models import LogChunk

HEAD_SHOWN = 4 * 1024
TAIL_SHOWN = 12 * 1024
"""Characters that a page shows of a longer log."""
SHOWN = HEAD_SHOWN + TAIL_SHOWN


@dataclass(frozen=True)
class Gap:
    """A part of a log that is not shown or not stored."""

    characters: int
    lines: int | None
    """None if they were not counted."""

    def __str__(self) -> str:
        lines = f"{self.lines:,} lines, " if self.lines else ""
        return f"{lines}{self.characters:,} characters"


@dataclass(frozen=True)
class LogView:
    """A log on a page: the whole, or its head and its tail."""

    head: str
    gap: Gap | None
    tail: str
    end: int
    """The number of characters that were written."""


@dataclass(frozen=True)
class _Stretch:
    """Stored text without a gap in it."""

    at: int
    line: int | None
    text: str

    @property
    def end(self) -> int:
        return self.at + len(self.text)

    @property
    def end_line(self) -> int | None:
        return None if self.line is None else self.line + self.text.count("\n")

    def cut_after(self, count: int) -> "_Stretch":
        """Return the first `count` characters, cut at the end of a line."""
        head = self.text[:count]
        return _Stretch(self.at, self.line, head[: head.rfind("\n") + 1] or head)

    def cut_before(self, count: int) -> "_Stretch":
        """Return the last `count` characters, cut at the start of a line."""
        start = max(0, len(self.text) - count)
        line_start = self.text.find("\n", start) + 1
        start = line_start if start and 0 < line_start < len(self.text) else start
        passed = self.text.count("\n", 0, start)
        line = None if self.line is None else self.line + passed
        return _Stretch(self.at + start, line, self.text[start:])


def view_of(step_run_id: UUID) -> LogView:
    """Return the log of a step as its page shows it."""
    chunks = LogChunk.objects.filter(step_run_id=step_run_id)
    last = _joined(_stretches(chunks, backwards=True), SHOWN)
    if last is None:
        return LogView("", None, "", 0)
    if last.at == 0 and len(last.text) <= SHOWN:
        return LogView(last.text, None, "", last.end)
    first = _joined(_stretches(chunks), HEAD_SHOWN) or last
    head, tail = first.cut_after(HEAD_SHOWN), last.cut_before(TAIL_SHOWN)
    return LogView(head.text, _between(head, tail), tail.text, tail.end)


def views_of(run_id: UUID, known: Mapping[int, int]) -> dict[int, LogView]:
    """Return the logs that are longer than `known`, by step position."""
    chunks = LogChunk.objects.filter(
        step_run__run_id=run_id, step_run__position__in=known.keys()
    )
    newest = chunks.values_list("step_run_id", "step_run__position")
    return {
        position: view_of(step_run_id)
        for step_run_id, position, offset in newest.annotate(newest=Max("offset"))
        if offset >= known[position]
    }


def last_lines(step_run_id: UUID, count: int) -> list[str]:
    """Return the last lines of a log, at most `count`."""
    chunks = LogChunk.objects.filter(step_run_id=step_run_id)
    last = _joined(_stretches(chunks, backwards=True), TAIL_SHOWN)
    return last.cut_before(TAIL_SHOWN).text.splitlines()[-count:] if last else []


@dataclass(frozen=True)
class Section:
    """Stored text without a gap in it, and the gap before it."""

    gap: Gap | None
    line: int | None
    """The number of line breaks before it; None if they were not counted."""
    text: str
    end: int


def sections(step_run_id: UUID) -> list[Section]:
    """Return the stored log as the parts between its gaps."""
    parts: list[list[_Stretch]] = []
    for chunk in _stretches(LogChunk.objects.filter(step_run_id=step_run_id)):
        if parts and chunk.at <= parts[-1][-1].end:
            parts[-1].append(chunk)
        else:
            parts.append([chunk])
    found = []
    before = _Stretch(0, 0, "")
    for part in parts:
        first, last = part[0], part[-1]
        gap = _between(before, first) if first.at > before.end else None
        text = "".join(chunk.text for chunk in part)
        found.append(Section(gap, first.line, text, last.end))
        before = last
    return found


def pieces(step_run_id: UUID) -> Iterator[str]:
    """Return the stored log in pieces, with one line in place of each gap."""
    for section in sections(step_run_id):
        if section.gap is not None:
            yield f"\n[{section.gap} were not stored]\n"
        yield section.text


def _between(head: _Stretch, tail: _Stretch) -> Gap:
    lines = None
    if head.end_line is not None and tail.line is not None:
        lines = tail.line - head.end_line
    return Gap(tail.at - head.end, lines)


def _joined(chunks: Iterator[_Stretch], most: int) -> _Stretch | None:
    """Join chunks, in either order, up to a gap or until there is more than `most`."""
    found: list[_Stretch] = []
    size = 0
    for chunk in chunks:
        is_gap = found and (chunk.at > found[-1].end or chunk.end < found[-1].at)
        if is_gap or size > most:
            break
        found.append(chunk)
        size += len(chunk.text)
    found.sort(key=lambda one: one.at)
    text = "".join(one.text for one in found)
    return _Stretch(found[0].at, found[0].line, text) if found else None


def _stretches(
    chunks: QuerySet[LogChunk], *, backwards: bool = False
) -> Iterator[_Stretch]:
    ordered = chunks.order_by("-offset" if backwards else "offset")
    rows = ordered.values_list("offset", "line", "text").iterator(chunk_size=50)
    return (_Stretch(*row) for row in rows)
