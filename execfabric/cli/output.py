"""Print results and problems, as text or as JSON."""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from rich.console import Console, ConsoleDimensions
from rich.table import Table
from rich.text import Text

TONES = {
    **dict.fromkeys(("succeeded", "approved", "covered", "finished"), "green"),
    **dict.fromkeys(("running", "ready", "falling_back", "rolling_back"), "cyan"),
    **dict.fromkeys(("awaiting_approval", "gated", "requested", "paused"), "yellow"),
    **dict.fromkeys(("partial", "incomplete", "queued"), "yellow"),
    "indeterminate": "magenta",
    **dict.fromkeys(("failed", "would fail", "rejected", "expired"), "red"),
    **dict.fromkeys(("rollback_failed", "compensation_failed", "not_undone"), "red"),
}
T = TypeVar("T")
GAP = 2
LAST_COLUMN = 30
"""Minimum width of the last column, even on a narrow terminal."""


class Output:
    """Text for users, or exactly one JSON document."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self._out = Console(highlight=False, markup=False, soft_wrap=False)
        self._width = self._out.width
        self._err = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

    def result(self, value: T, show: "Callable[[Output, T], None]") -> None:
        """Print a value as JSON with `--json`, and otherwise with `show`."""
        if self.as_json:
            print(json.dumps(value, indent=2, ensure_ascii=False))
        else:
            show(self, value)

    def listing(
        self,
        items: Sequence[dict[str, Any]],
        columns: Sequence[str],
        keys: Sequence[str] = (),
    ) -> None:
        """Print items as a JSON document or a table; `keys` default to the columns."""
        rows = ([item[key] for key in keys or columns] for item in items)
        self.result(items, lambda output, _: output.table(columns, rows))

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Print rows under headings; only the last column is wrapped.

        An id on two lines could not be copied. Without a terminal, each row is one line.
        """
        cells = [[cell(value) for value in row] for row in rows]
        table = Table(box=None, header_style="bold", pad_edge=False)
        for column in columns:
            table.add_column(column, no_wrap=column != columns[-1], overflow="fold")
        for row in cells:
            table.add_row(*row)
        widths = [
            max(text.cell_len for text in column)
            for column in zip(map(Text, columns), *cells, strict=True)
        ]
        whole = sum(widths) + GAP * len(widths)
        folded = whole - widths[-1] + min(widths[-1], LAST_COLUMN)
        width = max(self._width, folded if self._out.is_terminal else whole)
        # With the height, because a dumb terminal ignores a width alone.
        self._out.size = ConsoleDimensions(width, self._out.height)
        self._out.print(table)
        self._out.size = ConsoleDimensions(self._width, self._out.height)

    def fields(self, pairs: Iterable[tuple[str, Any]]) -> None:
        """Print one value per line; leave out empty ones."""
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="fold")
        for name, value in pairs:
            if value not in (None, "", [], {}):
                grid.add_row(name, cell(value))
        self._out.print(grid)

    def line(self, *parts: Any) -> None:
        self._out.print(Text(" ").join(cell(part) for part in parts), soft_wrap=True)

    def block(self, value: Any) -> None:
        text = json.dumps(value, indent=2, ensure_ascii=False)
        self._out.print(cell(text), soft_wrap=True)

    def progress(self, text: str) -> None:
        """Print progress on standard error, unless JSON is printed."""
        if not self.as_json:
            self._err.print(cell(text))

    def problem(self, problem: dict[str, Any]) -> None:
        """Print the code and the sentence of a problem on standard error."""
        if self.as_json:
            print(json.dumps(problem, indent=2, ensure_ascii=False), file=sys.stderr)
            return
        self._err.print(cell(f"{problem['code']}: {problem['detail']}"))
        for item in problem.get("problems") or []:
            self._err.print(cell(f"  {at_place(item)}"))


def cell(value: Any) -> Text:
    """Return a value as text without control characters, in the color of its state."""
    if value is None:
        return Text("-", style="dim")
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return Text(_printable(text), style=TONES.get(text, ""))


def at_place(problem: dict[str, Any]) -> str:
    """Return a problem of a plan as one line with its position and code."""
    line, column = problem.get("line"), problem.get("column")
    where = f"{line}:{column}" if line else "-"
    step = f" [{problem['step']}]" if problem.get("step") else ""
    return f"{where} {problem['code']}{step} {problem['message']}"


def _printable(text: str) -> str:
    return "".join(
        character if character.isprintable() or character in "\n\t" else "\ufffd"
        for character in text
    )
