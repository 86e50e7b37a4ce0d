"""`execfabric step`: act on failed steps, resolve unknown outcomes."""

from typing import Annotated, Any

import typer

from execfabric.cli.output import Output
from execfabric.cli.session import json_object, read_inputs, segment, session

app = typer.Typer(no_args_is_help=True, help="Act on failed steps.")

CONSEQUENCES = {
    "after a skip, these steps still run:": "runs",
    "after a skip, these steps are skipped too:": "skipped",
    "these steps run without its value:": "without",
    "these steps fail although it is skipped:": "fails",
}
StepRunId = Annotated[
    str, typer.Argument(metavar="ID", help="`step_run_id` from `run get --json`.")
]
Reason = Annotated[str, typer.Option("--reason", help="The reason; it is recorded.")]
Evidence = Annotated[
    str, typer.Option("--evidence", help="Why you are sure; it is recorded.")
]


@app.command()
def actions(ctx: typer.Context, step_run_id: StepRunId) -> None:
    """Show what can be done about a step, and what a skip leads to."""
    now = session(ctx)
    found = now.client.get(f"steps/{segment(step_run_id)}/actions")
    now.output.result(found, _show_actions)


@app.command()
def retry(
    ctx: typer.Context,
    step_run_id: StepRunId,
    reason: Reason,
    params: Annotated[
        list[str],
        typer.Option(
            "--param",
            metavar="K=V",
            help="A parameter to change, as JSON or text; repeat it for others.",
        ),
    ] = [],  # noqa: B006  typer copies it
) -> None:
    """Retry a failed step, with other parameters if you give some."""
    body: dict[str, Any] = {"reason": reason}
    if params:
        body["params"] = read_inputs(params, option="--param")
    _act(ctx, step_run_id, "retry", body)


@app.command()
def skip(ctx: typer.Context, step_run_id: StepRunId, reason: Reason) -> None:
    """Skip a failed step. Its run ends as partly succeeded."""
    _act(ctx, step_run_id, "skip", {"reason": reason})


@app.command()
def fallback(ctx: typer.Context, step_run_id: StepRunId, reason: Reason) -> None:
    """Run the fallback of a failed step."""
    _act(ctx, step_run_id, "fallback", {"reason": reason})


@app.command()
def complete(
    ctx: typer.Context,
    step_run_id: StepRunId,
    reason: Reason,
    evidence: Evidence,
    output: Annotated[
        str, typer.Option("--output", metavar="JSON", help="The output of the step.")
    ] = "",
) -> None:
    """Complete a failed step by hand, with its output."""
    body: dict[str, Any] = {"reason": reason, "evidence": evidence}
    _act(ctx, step_run_id, "complete", body | _output_of(output))


@app.command()
def resolve(
    ctx: typer.Context,
    step_run_id: StepRunId,
    evidence: Evidence,
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
    body: dict[str, Any] = {"happened": happened, "evidence": evidence}
    _act(ctx, step_run_id, "resolve", body | _output_of(output))


def _output_of(text: str) -> dict[str, Any]:
    code = "cli.output_malformed"
    return {"output": json_object(text, option="--output", code=code)} if text else {}


def _act(ctx: typer.Context, step_run_id: str, verb: str, body: dict[str, Any]) -> None:
    now = session(ctx)
    run = now.client.post(f"steps/{segment(step_run_id)}:{verb}", body)
    parts = ("run", run["id"], "is", run["state"])
    now.output.result(run, lambda output, _: output.line(*parts))


def _show_actions(output: Output, found: dict[str, Any]) -> None:
    output.line("step", found["step_run_id"], "is", found["state"])
    cells = (
        (row["action"], "yes" if row["possible"] else "no", row["why_not"])
        for row in found["actions"]
    )
    output.table(("action", "possible", "why not"), cells)
    for words, name in CONSEQUENCES.items():
        if steps := (found["skip"] or {}).get(name):
            output.line(words, ", ".join(steps))
