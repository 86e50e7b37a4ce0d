"""What every command shares: the client, the output, and what people type."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from execfabric.cli.client import Client, Misused
from execfabric.cli.output import Output

RunId = Annotated[str, typer.Argument(metavar="ID", help="The run's id.")]
GateId = Annotated[str, typer.Argument(metavar="ID", help="The gate's id.")]
PlanFile = Annotated[
    str, typer.Argument(metavar="FILE", help="YAML or JSON; - reads stdin.")
]
Inputs = Annotated[
    list[str],
    typer.Option("--input", metavar="K=V", help="An input of the run; JSON or text."),
]


@dataclass(frozen=True)
class Session:
    """One call of the command."""

    client: Client
    output: Output


def session(ctx: typer.Context) -> Session:
    """The session that the root command opened."""
    found: Session = ctx.obj
    return found


def read_plan(name: str) -> str:
    """The text of a plan file.

    :raises Misused: when it cannot be read
    """
    try:
        raw = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return raw.decode("utf-8")
    except OSError as error:
        raise Misused("cli.file_unreadable", f"{name}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Misused("cli.file_unreadable", f"{name} is not UTF-8 text.") from error


def read_inputs(pairs: list[str]) -> dict[str, Any]:
    """`k=v` pairs; a value that is JSON keeps its type, anything else is text.

    :raises Misused: for something that is not `k=v`, or a name given twice
    """
    inputs: dict[str, Any] = {}
    for pair in pairs:
        name, sign, text = pair.partition("=")
        if not sign or not name:
            raise Misused(
                "cli.input_malformed", f"--input {pair}: write it as name=value."
            )
        if name in inputs:
            raise Misused("cli.input_twice", f"--input {name} is given twice.")
        inputs[name] = _value(text)
    return inputs


def segment(text: str) -> str:
    """Something typed, as one part of a path.

    :raises Misused: when it could lead elsewhere
    """
    if not text or not all(c.isalnum() or c in "-_." for c in text) or ".." in text:
        raise Misused("cli.id_malformed", f"{text!r} is not an id or a name.")
    return text


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_not_json)
    except ValueError:
        return text


def _not_json(name: str) -> Any:
    raise ValueError(name)
