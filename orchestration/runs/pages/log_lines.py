"""The lines of a log with their numbers: one page of them, and the hits of a search."""

from dataclasses import dataclass
from uuid import UUID

from orchestration.runs.pages import logs

PAGE = 1000
"""Lines that a page shows at once."""
LONGEST_QUERY = 200
LONGEST_LINE = 10_000
"""Characters of a line that a page shows."""


@dataclass(frozen=True)
class NumberedLine:
    number: int | None
    """The number in the whole log, from 1; None for the note on a gap."""
    text: str
    is_hit: bool = False

    @property
    def shown(self) -> str:
        return self.text[:LONGEST_LINE]

    @property
    def is_cut(self) -> bool:
        return len(self.text) > LONGEST_LINE


@dataclass(frozen=True)
class LogPage:
    """One page of the lines of a log."""

    lines: list[NumberedLine]
    first: int
    """The place of its first line among the stored ones, from 0."""
    total: int
    """The number of stored lines."""
    end: int
    """The number of characters that were written."""
    query: str
    hits: int
    hit: int
    """The number of the hit that the page shows, from 1; 0 without a hit."""
    hit_line: int | None

    @property
    def last(self) -> int:
        return self.first + len(self.lines)

    @property
    def before(self) -> int | None:
        """Return the place of the page before, from 1; None on the first."""
        return max(0, self.first - PAGE) + 1 if self.first else None

    @property
    def after(self) -> int | None:
        return self.last + 1 if self.last < self.total else None

    @property
    def previous_hit(self) -> int | None:
        return (self.hit - 2) % self.hits + 1 if self.hits else None

    @property
    def next_hit(self) -> int | None:
        return self.hit % self.hits + 1 if self.hits else None


def page_of(
    step_run_id: UUID,
    *,
    line: int | None = None,
    first: int = 0,
    query: str = "",
    hit: int = 1,
    last: bool = False,
) -> LogPage:
    """Return the page with a hit of the search, a line, a place, or the last one."""
    lines, end = _numbered(step_run_id)
    query = query[:LONGEST_QUERY]
    folded = query.casefold()
    hits = [
        place
        for place, each in enumerate(lines)
        if query and folded in each.text.casefold()
    ]
    hit = min(max(hit, 1), len(hits))
    place = _place(lines, line=line, first=first, last=last)
    if hits and line is None:
        place = hits[hit - 1]
    start = place // PAGE * PAGE
    on_page = set(hits)
    return LogPage(
        lines=[
            NumberedLine(each.number, each.text, start + offset in on_page)
            for offset, each in enumerate(lines[start : start + PAGE])
        ],
        first=start,
        total=len(lines),
        end=end,
        query=query,
        hits=len(hits),
        hit=hit,
        hit_line=lines[hits[hit - 1]].number if hits else None,
    )


def _place(
    lines: list[NumberedLine], *, line: int | None, first: int, last: bool
) -> int:
    """Return the place of a line by its number, or of the first line of a page."""
    end = max(0, len(lines) - 1)
    if last:
        return end
    if line is None:
        return min(first, end)
    before = (place for place, each in enumerate(lines) if (each.number or 0) >= line)
    return next(before, end)


def _numbered(step_run_id: UUID) -> tuple[list[NumberedLine], int]:
    """Return all stored lines with their numbers, and the end of the log."""
    lines: list[NumberedLine] = []
    number, end = 1, 0
    for section in logs.sections(step_run_id):
        if section.gap is not None:
            lines.append(NumberedLine(None, f"[{section.gap} were not stored]"))
            number = number if section.line is None else section.line + 1
        *texts, rest = section.text.split("\n")
        texts += [rest] if rest else []
        lines += [
            NumberedLine(number + place, text) for place, text in enumerate(texts)
        ]
        number += section.text.count("\n")
        end = section.end
    return lines, end
