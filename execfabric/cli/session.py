"""The session of a command, and the parsing of its arguments."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from execfabric.cli.client import Client, UsageProblem
from execfabric.cli.output import Output

RunId = Annotated[str, typer.Argument(metavar="ID", help="Id of the run.")]
GateId = Annotated[str, typer.Argument(metavar="ID", help="Id of the gate.")]
PlanFile = Annotated[
    str,
    typer.Argument(metavar="FILE", help="A YAML or JSON file; - for standard input."),
]
Inputs = Annotated[
    list[str],
    typer.Option(
        "--input", metavar="K=V", help="An input of the run, as JSON or text."
    ),
]


@dataclass(frozen=True)
class Session:
    """The client and the output of one command."""

    client: Client
    output: Output


def session(ctx: typer.Context) -> Session:
    """Return the session that the root command created."""
    current: Session = ctx.obj
    return current


def read_plan(name: str) -> str:
    """Return the text of a plan file.

    :raises UsageProblem: if it cannot be read
    """
    try:
        raw = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return raw.decode("utf-8")
    except OSError as error:
        detail = f"Cannot read {name!r}: the file is missing or not readable."
        raise UsageProblem("cli.file_unreadable", detail) from error
    except UnicodeDecodeError as error:
        detail = f"Cannot read {name!r}: it is not UTF-8 text."
        raise UsageProblem("cli.file_unreadable", detail) from error


def read_inputs(pairs: list[str]) -> dict[str, Any]:
    """Parse `k=v` pairs; a value that is not JSON is text.

    :raises UsageProblem: if a pair is not `k=v`, or a name is duplicate
    """
    inputs: dict[str, Any] = {}
    for pair in pairs:
        name, sign, text = pair.partition("=")
        if not sign or not name:
            raise UsageProblem(
                "cli.input_malformed",
                f"Invalid --input {pair!r}. Write it as name=value.",
            )
        if name in inputs:
            raise UsageProblem(
                "cli.input_twice", f"Duplicate --input {name!r}. Set it once."
            )
        inputs[name] = _value(text)
    return inputs


def segment(text: str) -> str:
    """Return an id or a name if it is a single part of a path.

    :raises UsageProblem: if it has other characters
    """
    if not text or not all(c.isalnum() or c in "-_." for c in text) or ".." in text:
        raise UsageProblem(
            "cli.id_malformed",
            f"Invalid id or name {text!r}. Use letters, digits, -, _ and dots.",
        )
    return text


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_not_json)
    except ValueError:
        return text


def _not_json(name: str) -> Any:
    raise ValueError(name)
