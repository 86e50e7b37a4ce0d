"""`execfabric plan`: check, dry-run and propose plans."""

import time
from typing import Any

import typer

from execfabric.cli.client import Exit
from execfabric.cli.output import Output, at_place
from execfabric.cli.session import (
    Inputs,
    PlanFile,
    Session,
    read_inputs,
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
}

app = typer.Typer(no_args_is_help=True, help="Check, dry-run and propose plans.")


@app.command()
def validate(ctx: typer.Context, file: PlanFile, inputs: Inputs = []) -> None:  # noqa: B006  typer copies it
    """List all problems of a plan. Exit 1 if there are any."""
    now = session(ctx)
    body = {"plan": read_plan(file), "inputs": read_inputs(inputs) or None}
    result = now.client.post("plans:validate", body)
    if now.output.as_json:
        now.output.document(result)
    else:
        _show(now.output, result)
    raise typer.Exit(Exit.OK if result["valid"] else Exit.FAILED)


@app.command("dry-run")
def dry_run(ctx: typer.Context, file: PlanFile, inputs: Inputs = []) -> None:  # noqa: B006
    """Dry-run a plan. Exit 0 if it finished and no step would fail."""
    now = session(ctx)
    body = {"plan": read_plan(file), "inputs": read_inputs(inputs)}
    queued = now.client.post("plans:dry-run", body)
    result = _until_finished(now, queued)
    if now.output.as_json:
        now.output.document(result)
    else:
        _show_dry_run(now.output, result)
    worked = result["state"] == "finished" and not result["would_fail"]
    raise typer.Exit(Exit.OK if worked else Exit.FAILED)


@app.command()
def propose(ctx: typer.Context, file: PlanFile, inputs: Inputs = []) -> None:  # noqa: B006
    """Propose a plan, which creates a run that waits for approval."""
    now = session(ctx)
    body = {"plan": read_plan(file), "inputs": read_inputs(inputs)}
    proposed = now.client.post("runs", body)
    if now.output.as_json:
        now.output.document(proposed)
        return
    now.output.fields([("run", proposed["run_id"]), ("state", proposed["state"])])
    now.output.line(proposed["url"])


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


def _show(output: Output, result: dict[str, object]) -> None:
    output.fields(
        [
            ("valid", "yes" if result["valid"] else "no"),
            ("digest", result["digest"]),
            ("order", " -> ".join(map(str, result["order"]))),  # type: ignore[call-overload]
        ]
    )
    for gate in result["gates"]:  # type: ignore[attr-defined]
        output.line("gate", gate["step"] or "plan", gate["reason"])
    for problem in result["problems"]:  # type: ignore[attr-defined]
        output.line(at_place(problem))
