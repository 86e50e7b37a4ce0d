"""The documents' fenced blocks, and tables of the code that documents repeat."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from execfabric.lib.machine import StateMachine
from orchestration.runs.domain.states import ARTIFACT, ATTEMPT, DRY_RUN, RUN, STEP_RUN

PROJECT = Path(__file__).resolve().parent.parent
DOCUMENTS = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
STATES = "docs/lifecycle.md"
FENCE = re.compile(r"^( *)```(\S*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
SAVED_AS = re.compile(r"[Ss]ave (?:this|the plan) as `([\w.-]+)`:\s*\Z")

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True)
class Block:
    """A fenced block of a document."""

    document: str
    line: int
    language: str
    text: str
    file_name: str = ""
    """The name in "Save this as `plan.yaml`:" before the block, if any."""

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def blocks(path: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a document, in order, without their indentation."""
    text = path.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        indent, language, body = match.groups()
        body = re.sub(f"^{indent}", "", body, flags=re.MULTILINE)
        line = text.count("\n", 0, match.start()) + 1
        saved = SAVED_AS.search(text, 0, match.start())
        name = saved[1] if saved else ""
        yield Block(path.relative_to(PROJECT).as_posix(), line, language, body, name)


def all_blocks(language: str = "") -> list[Block]:
    """Return the blocks of every document, or those of one language."""
    return [
        block
        for path in DOCUMENTS
        for block in blocks(path)
        if language in {"", block.language}
    ]


def state_table(machine: StateMachine[S, E]) -> str:
    """Return a machine's rows as a Markdown table, with final states in bold."""

    def cell(state: S) -> str:
        return f"**{state}**" if state in machine.final else str(state)

    lines = ["| from | on | to |", "| --- | --- | --- |"]
    lines += [f"| {cell(a)} | {on} | {cell(b)} |" for a, on, b in machine.rows]
    return "\n".join(lines)


def between_markers(path: str, name: str) -> str:
    """Return the text between `<!-- name -->` and `<!-- /name -->`.

    :raises LookupError: when the document lacks the markers
    """
    text = (PROJECT / path).read_text(encoding="utf-8")
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        message = f"{path} needs {begin} and {end} exactly once"
        raise LookupError(message)
    return text.split(begin)[1].split(end)[0].strip()


def put_between_markers(path: str, name: str, content: str) -> None:
    """Replace the text between the markers of a document."""
    file = PROJECT / path
    text = file.read_text(encoding="utf-8")
    between_markers(path, name)
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    head, rest = text.split(begin)
    tail = rest.split(end)[1]
    file.write_text(f"{head}{begin}\n{content}\n{end}{tail}", encoding="utf-8")


def main() -> None:
    """Write the tables of the code into the page about states."""
    put_between_markers(STATES, "states:run", state_table(RUN))
    put_between_markers(STATES, "states:step", state_table(STEP_RUN))
    put_between_markers(STATES, "states:attempt", state_table(ATTEMPT))
    put_between_markers(STATES, "states:dry-run", state_table(DRY_RUN))
    put_between_markers(STATES, "states:artifact", state_table(ARTIFACT))


if __name__ == "__main__":
    main()
