"""`execfabric plan`: check, dry-run and propose plans; `saved_plans` has the rest."""

import time
from typing import Annotated, Any

import typer

from execfabric.cli.client import Exit
from execfabric.cli.output import Output, at_place
from execfabric.cli.session import (
    Inputs,
    PlanFile,
    Session,
    TraceParent,
    inputs_of,
    read_plan,
    segment,
    session,
)

POLL_SECONDS = 0.5
VERDICTS = {
    "covered": "covered",
    "would_fail": "would fail",
    "not_dry_run": "not dry-run",
    "approval": "approval",
    "choose": "choice",
    "wait": "wait",
    "input": "asks for values",
    "skipped": "skipped by condition",
}

app = typer.Typer(no_args_is_help=True, help="Check, propose, save and start plans.")


@app.command()
def validate(ctx: typer.Context, file: PlanFile, inputs: Inputs = []) -> None:  # noqa: B006  typer copies it
    """List all problems of a plan. Exit 1 if there are any."""
    now = session(ctx)
    body = {"plan": read_plan(file), "inputs": inputs_of(now, inputs) or None}
    result = now.client.post("plans:validate", body)
    now.output.result(result, _show)
    raise typer.Exit(Exit.OK if result["valid"] else Exit.FAILED)


@app.command("dry-run")
def dry_run(ctx: typer.Context, file: PlanFile, inputs: Inputs = []) -> None:  # noqa: B006
    """Dry-run a plan. Exit 0 if it finished and no step would fail."""
    now = session(ctx)
    body = {"plan": read_plan(file), "inputs": inputs_of(now, inputs)}
    result = _until_finished(now, now.client.post("plans:dry-run", body))
    now.output.result(result, _show_dry_run)
    worked = result["state"] == "finished" and not result["would_fail"]
    raise typer.Exit(Exit.OK if worked else Exit.FAILED)


@app.command()
def propose(
    ctx: typer.Context,
    file: PlanFile,
    inputs: Inputs = [],  # noqa: B006
    template: Annotated[
        str,
        typer.Option(metavar="NAME@N", help="The saved plan that you have edited."),
    ] = "",
    traceparent: TraceParent = "",
) -> None:
    """Propose a plan, which creates a run that waits for approval."""
    now = session(ctx)
    body = {"plan": read_plan(file), "inputs": inputs_of(now, inputs)}
    if template:
        body["template"] = template
    proposed = now.client.post("runs", body, traceparent=traceparent)
    now.output.result(proposed, show_proposed)


def show_proposed(output: Output, proposed: dict[str, Any]) -> None:
    """Print a proposed run."""
    output.fields([("run", proposed["run_id"]), ("state", proposed["state"])])
    output.line(proposed["url"])


def _until_finished(now: Session, result: dict[str, Any]) -> dict[str, Any]:
    """Poll until the dry run is finished; print its progress."""
    last = ""
    while not result["finished_at"]:
        progress = f"{result['state']}, {result['steps_done']} of {result['steps_total']} steps done"
        if progress != last:
            now.output.progress(progress)
        last = progress
        time.sleep(POLL_SECONDS)
        result = now.client.get(f"dry-runs/{segment(result['id'])}")
    return result


def _show_dry_run(output: Output, result: dict[str, Any]) -> None:
    coverage = result["coverage"]
    output.fields(
        [
            ("dry run", result["state"]),
            ("reason", result["reason"]),
            ("coverage", None if coverage is None else f"{coverage} %"),
            ("digest", result["digest"]),
        ]
    )
    rows = [
        (step["step"], VERDICTS[step["verdict"]], _summary(step))
        for step in result["steps"]
    ]
    if rows:
        output.table(("step", "result", "what it would do"), rows)
    for step in result["steps"]:
        for change in step["changes"]:
            output.line(f"{step['step']}:", change)
    for failure in result["would_fail"]:
        output.line("would fail:", failure["step"], failure["message"])


def _summary(step: dict[str, Any]) -> str:
    failures = [step["fails"], *step["problems"]]
    return " ".join(part for part in [step["summary"], *failures] if part)


def _show(output: Output, result: dict[str, Any]) -> None:
    valid, order = "yes" if result["valid"] else "no", " -> ".join(result["order"])
    output.fields([("valid", valid), ("digest", result["digest"]), ("order", order)])
    for gate in result["gates"]:
        output.line("gate", gate["step"] or "plan", gate["reason"])
    for problem in result["problems"]:
        output.line(at_place(problem))
