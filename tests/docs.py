"""The documents repeat some tables of the code; here is how they must look."""

from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from execfabric.lib.machine import Machine
from orchestration.runs.domain.states import ATTEMPT, DRY_RUN, RUN, STEP_RUN

PROJECT = Path(__file__).resolve().parent.parent

S = TypeVar("S", bound=StrEnum)
E = TypeVar("E", bound=StrEnum)


def state_table(machine: Machine[S, E]) -> str:
    """A machine's rows as a Markdown table; final states stand in bold."""

    def shown(state: S) -> str:
        return f"**{state}**" if state in machine.final else str(state)

    lines = ["| from | on | to |", "| --- | --- | --- |"]
    lines += [f"| {shown(a)} | {on} | {shown(b)} |" for a, on, b in machine.rows]
    return "\n".join(lines)


def between_markers(path: str, name: str) -> str:
    """What a document has between `<!-- name -->` and `<!-- /name -->`.

    :raises LookupError: when it lacks the markers
    """
    text = (PROJECT / path).read_text(encoding="utf-8")
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    if text.count(begin) != 1 or text.count(end) != 1:
        message = f"{path} has not exactly one {begin} and {end}"
        raise LookupError(message)
    return text.split(begin)[1].split(end)[0].strip()


def put_between_markers(path: str, name: str, content: str) -> None:
    """Replace what stands between the markers of a document."""
    file = PROJECT / path
    text = file.read_text(encoding="utf-8")
    between_markers(path, name)
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    head, rest = text.split(begin)
    tail = rest.split(end)[1]
    file.write_text(f"{head}{begin}\n{content}\n{end}{tail}", encoding="utf-8")


def main() -> None:
    """Write the tables of the code into the README."""
    put_between_markers("README.md", "states:run", state_table(RUN))
    put_between_markers("README.md", "states:step", state_table(STEP_RUN))
    put_between_markers("README.md", "states:attempt", state_table(ATTEMPT))
    put_between_markers("README.md", "states:dry-run", state_table(DRY_RUN))


if __name__ == "__main__":
    main()
