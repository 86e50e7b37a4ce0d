"""`execfabric step`: settle a step whose outcome is unknown."""

import json
from typing import Annotated, Any

import typer

from execfabric.cli.client import Misused
from execfabric.cli.session import segment, session

app = typer.Typer(no_args_is_help=True, help="Settle unknown outcomes.")

StepRunId = Annotated[
    str, typer.Argument(metavar="ID", help="`step_run_id`, as `run get --json` has it.")
]


@app.callback()
def steps() -> None:
    """Keep `resolve` a subcommand although it is the only one."""


@app.command()
def resolve(
    ctx: typer.Context,
    step_run_id: StepRunId,
    happened: Annotated[
        bool, typer.Option("--happened/--did-not-happen", help="What you found.")
    ],
    evidence: Annotated[str, typer.Option("--evidence", help="How you know.")],
    output: Annotated[
        str,
        typer.Option("--output", metavar="JSON", help="Its output, if it happened."),
    ] = "",
) -> None:
    """Record whether a step with an unknown outcome happened."""
    now = session(ctx)
    body: dict[str, Any] = {"happened": happened, "evidence": evidence}
    if output:
        body["output"] = _object(output)
    run = now.client.post(f"steps/{segment(step_run_id)}:resolve", body)
    if now.output.as_json:
        now.output.document(run)
        return
    now.output.line("run", run["id"], "is", run["state"])


def _object(text: str) -> dict[str, Any]:
    """Read a JSON object.

    :raises Misused: when it is not one
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise Misused("cli.output_malformed", f"--output: {error}") from error
    if not isinstance(value, dict):
        raise Misused("cli.output_malformed", "--output: write a JSON object.")
    return value
