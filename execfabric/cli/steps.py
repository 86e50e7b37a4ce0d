"""`execfabric step`: resolve unknown outcomes of steps."""

from typing import Annotated, Any

import typer

from execfabric.cli.session import json_object, segment, session

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
    evidence: Annotated[
        str, typer.Option("--evidence", help="How you know; it is recorded.")
    ],
    happened: Annotated[
        bool | None,
        typer.Option("--happened/--did-not-happen", help="The outcome that you found."),
    ] = None,
    abandon: Annotated[
        bool,
        typer.Option("--abandon", help="No one can find out: the step fails for good."),
    ] = False,
    output: Annotated[
        str,
        typer.Option(
            "--output", metavar="JSON", help="The output of the step, if it happened."
        ),
    ] = "",
) -> None:
    """Resolve the unknown outcome of a step."""
    if abandon == (happened is not None):
        message = "give one of --happened, --did-not-happen and --abandon"
        raise typer.BadParameter(message)
    now = session(ctx)
    body: dict[str, Any] = {"happened": happened, "evidence": evidence}
    if output:
        code = "cli.output_malformed"
        body["output"] = json_object(output, option="--output", code=code)
    run = now.client.post(f"steps/{segment(step_run_id)}:resolve", body)
    parts = ("run", run["id"], "is", run["state"])
    now.output.result(run, lambda output, _: output.line(*parts))
