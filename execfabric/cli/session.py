"""The session of a command, and the parsing of its arguments."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from execfabric.cli.client import Client, UsageProblem
from execfabric.cli.output import Output

UPLOAD = "@"
"""The first character of a value of `--input` that is the path of a file."""
RunId = Annotated[str, typer.Argument(metavar="ID", help="Id of the run.")]
GateId = Annotated[str, typer.Argument(metavar="ID", help="Id of the gate.")]
PlanFile = Annotated[
    str,
    typer.Argument(metavar="FILE", help="A YAML or JSON file; - for standard input."),
]
Inputs = Annotated[
    list[str],
    typer.Option(
        "--input",
        metavar="K=V",
        help="An input of the run, as JSON or text; K=@PATH uploads a file.",
    ),
]
TraceParent = Annotated[
    str,
    typer.Option(
        "--traceparent",
        envvar="TRACEPARENT",
        help="The W3C trace context of the system that proposes.",
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


def inputs_of(now: Session, pairs: list[str]) -> dict[str, Any]:
    """Parse `k=v` pairs; upload the file of each `k=@path`, whose value is its id.

    :raises UsageProblem: if a pair is not `k=v`, or a file cannot be read
    """
    inputs = read_inputs(pairs)
    raw = {name: text for name, _, text in (pair.partition("=") for pair in pairs)}
    for name, text in raw.items():
        if text.startswith(UPLOAD):
            inputs[name] = _uploaded(now.client, Path(text.removeprefix(UPLOAD)))
    return inputs


def _uploaded(client: Client, path: Path) -> str:
    try:
        with path.open("rb") as content:
            file: dict[str, Any] = client.upload("files", content, name=path.name)
    except OSError as error:
        detail = (
            f"Cannot read {str(path)!r}: the file is missing or not readable."
            """ To give a text that starts with @, quote it: name='"@text"'."""
        )
        raise UsageProblem("cli.file_unreadable", detail) from error
    return str(file["id"])


def read_inputs(pairs: list[str], *, option: str = "--input") -> dict[str, Any]:
    """Parse `k=v` pairs; a value that is not JSON is text.

    :raises UsageProblem: if a pair is not `k=v`, or a name is duplicate
    """
    inputs: dict[str, Any] = {}
    for pair in pairs:
        name, sign, text = pair.partition("=")
        if not sign or not name:
            detail = f"Invalid {option} {pair!r}. Write it as name=value."
            raise UsageProblem("cli.input_malformed", detail)
        if name in inputs:
            detail = f"Duplicate {option} {name!r}. Set it once."
            raise UsageProblem("cli.input_twice", detail)
        inputs[name] = _value(text)
    return inputs


def json_object(
    text: str, *, option: str, code: str = "cli.json_malformed"
) -> dict[str, Any]:
    """Parse the JSON object that an option has.

    :raises UsageProblem: if it is not one
    """
    value = _value(text)
    if not isinstance(value, dict):
        detail = f"Invalid {option} {text!r}. Write an object: '{{\"amount\": 5}}'."
        raise UsageProblem(code, detail)
    return value


def segment(text: str) -> str:
    """Return an id or a name if it is a single part of a path.

    :raises UsageProblem: if it has other characters
    """
    if not text or not all(c.isalnum() or c in "-_." for c in text) or ".." in text:
        detail = f"Invalid id or name {text!r}. Use letters, digits, -, _ and dots."
        raise UsageProblem("cli.id_malformed", detail)
    return text


def _value(text: str) -> Any:
    try:
        return json.loads(text, parse_constant=_not_json)
    except ValueError:
        return text


def _not_json(name: str) -> Any:
    raise ValueError(name)
