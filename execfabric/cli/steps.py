"""`execfabric step`: resolve unknown outcomes of steps."""

import json
from typing import Annotated, Any

import typer

from execfabric.cli.client import UsageProblem
from execfabric.cli.session import segment, session

app = typer.Typer(no_args_is_help=True, help="Resolve unknown outcomes.")

StepRunId = Annotated[
    str, typer.Argument(metavar="ID", help="`step_run_id` from `run get --json`.")
]


@app.callback()
def steps() -> None:
    """Keep `resolve` a subcommand although it is the only one."""


@app.command()
def resolve(
    ctx: typer.Context,
    step_run_id: StepRunId,
    happened: Annotated[
        bool,
        typer.Option("--happened/--did-not-happen", help="The outcome that you found."),
    ],
    evidence: Annotated[
        str, typer.Option("--evidence", help="Why you are sure; it is recorded.")
    ],
    output: Annotated[
        str,
        typer.Option(
            "--output", metavar="JSON", help="The output of the step, if it happened."
        ),
    ] = "",
) -> None:
    """Resolve the unknown outcome of a step."""
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
    """Parse a JSON object.

    :raises UsageProblem: if it is not a JSON object
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise UsageProblem(
            "cli.output_malformed", f"Invalid --output: {error}."
        ) from error
    if not isinstance(value, dict):
        raise UsageProblem(
            "cli.output_malformed", "Invalid --output: it is not a JSON object."
        )
    return value
