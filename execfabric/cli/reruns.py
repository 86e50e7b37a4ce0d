"""`execfabric run rerun` and `run compare`: run a finished run again."""

from typing import Annotated, Any

import typer

from execfabric.cli.output import Output
from execfabric.cli.plans import show_proposed
from execfabric.cli.session import (
    Inputs,
    RunId,
    TraceParent,
    inputs_of,
    json_object,
    read_plan,
    segment,
    session,
)

app = typer.Typer()
"""Its commands are those of `execfabric run`, too."""


@app.command()
def rerun(
    ctx: typer.Context,
    run_id: RunId,
    from_step: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="STEP",
            help="Run this step and those after it; without it, all steps.",
        ),
    ] = "",
    inputs: Inputs = [],  # noqa: B006  typer copies it
    file: Annotated[
        str,
        typer.Option("--inputs", metavar="FILE", help="All inputs, as a JSON object."),
    ] = "",
    traceparent: TraceParent = "",
) -> None:
    """Propose a finished run again; other steps reuse results that would be the same."""
    now = session(ctx)
    body: dict[str, Any] = {"from": from_step, "changes": inputs_of(now, inputs)}
    if file:
        body["inputs"] = json_object(read_plan(file), option="--inputs")
    path = f"runs/{segment(run_id)}:rerun"
    proposed = now.client.post(path, body, traceparent=traceparent)
    now.output.result(proposed, show_proposed)


@app.command()
def compare(
    ctx: typer.Context,
    run_id: RunId,
    other: Annotated[str, typer.Argument(metavar="OTHER", help="Id of another run.")],
) -> None:
    """Show what differs between two runs: inputs and steps."""
    now = session(ctx)
    found = now.client.get(f"runs/{segment(run_id)}/compare/{segment(other)}")
    now.output.result(found, _show)


def _show(output: Output, found: dict[str, Any]) -> None:
    for change in found["inputs"]:
        _show_change(output, "input", change)
    columns = ("step", "before", "after", "took before", "took after", "reused")
    rows = [
        (
            step["step"],
            (step["before"] or {}).get("state"),
            (step["after"] or {}).get("state"),
            _seconds(step["before"]),
            _seconds(step["after"]),
            "yes" if (step["after"] or {}).get("reused_from") else "no",
        )
        for step in found["steps"]
    ]
    output.table(columns, rows)
    for step in found["steps"]:
        for change in step["changes"]:
            _show_change(output, step["step"], change)
    if not found["inputs"] and not any(step["changes"] for step in found["steps"]):
        output.line("No differences.")


def _seconds(side: dict[str, Any] | None) -> str:
    took = (side or {}).get("took_s")
    return "" if took is None else f"{took} s"


def _show_change(output: Output, where: str, change: dict[str, Any]) -> None:
    output.line(where, f"{change['field']}:", change["before"], "->", change["after"])
