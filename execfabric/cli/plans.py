"""`execfabric plan`: check a plan, see what it would do, propose it."""

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

app = typer.Typer(no_args_is_help=True, help="Check and propose plans.")


@app.command()
def validate(ctx: typer.Context, file: PlanFile, inputs: Inputs = []) -> None:  # noqa: B006  typer copies it
    """Say everything that is wrong with a plan. Exit 1 if anything is."""
    now = session(ctx)
    body = {"plan": read_plan(file), "inputs": read_inputs(inputs) or None}
    found = now.client.post("plans:validate", body)
    if now.output.as_json:
        now.output.document(found)
    else:
        _show(now.output, found)
    raise typer.Exit(Exit.OK if found["valid"] else Exit.FAILED)


@app.command("dry-run")
def dry_run(ctx: typer.Context, file: PlanFile, inputs: Inputs = []) -> None:  # noqa: B006
    """Wait for the dry run of a plan. Exit 0 if all of it was tried and none would fail."""
    now = session(ctx)
    body = {"plan": read_plan(file), "inputs": read_inputs(inputs)}
    queued = now.client.post("plans:dry-run", body)
    found = _until_ended(now, queued)
    if now.output.as_json:
        now.output.document(found)
    else:
        _show_dry_run(now.output, found)
    worked = found["state"] == "finished" and not found["would_fail"]
    raise typer.Exit(Exit.OK if worked else Exit.FAILED)


@app.command()
def propose(ctx: typer.Context, file: PlanFile, inputs: Inputs = []) -> None:  # noqa: B006
    """Propose a plan: a run that waits for its approval."""
    now = session(ctx)
    body = {"plan": read_plan(file), "inputs": read_inputs(inputs)}
    made = now.client.post("runs", body)
    if now.output.as_json:
        now.output.document(made)
        return
    now.output.fields([("run", made["run_id"]), ("state", made["state"])])
    now.output.line(made["url"])


def _until_ended(now: Session, found: dict[str, Any]) -> dict[str, Any]:
    """Ask until the dry run has ended; say on standard error how far it is."""
    told = ""
    while not found["finished_at"]:
        progress = f"{found['state']}, {found['steps_done']} of {found['steps_total']} steps done"
        if progress != told:
            now.output.progress(progress)
        told = progress
        time.sleep(POLL_SECONDS)
        found = now.client.get(f"dry-runs/{segment(found['id'])}")
    return found


def _show_dry_run(output: Output, found: dict[str, Any]) -> None:
    coverage = found["coverage"]
    output.fields(
        [
            ("dry run", found["state"]),
            ("reason", found["reason"]),
            ("coverage", None if coverage is None else f"{coverage} %"),
            ("digest", found["digest"]),
        ]
    )
    rows = [
        (step["step"], VERDICTS[step["verdict"]], _says(step))
        for step in found["steps"]
    ]
    if rows:
        output.table(("step", "result", "what it would do, or why not"), rows)
    for step in found["steps"]:
        for change in step["changes"]:
            output.line(f"{step['step']}:", change)
    for failure in found["would_fail"]:
        output.line("would fail:", failure["step"], failure["message"])


def _says(step: dict[str, Any]) -> str:
    failures = [step["fails"], *step["problems"]]
    return " ".join(part for part in [step["summary"], *failures] if part)


def _show(output: Output, found: dict[str, object]) -> None:
    output.fields(
        [
            ("valid", "yes" if found["valid"] else "no"),
            ("digest", found["digest"]),
            ("order", " -> ".join(map(str, found["order"]))),  # type: ignore[call-overload]
        ]
    )
    for gate in found["gates"]:  # type: ignore[attr-defined]
        output.line("gate", gate["step"] or "plan", gate["reason"])
    for problem in found["problems"]:  # type: ignore[attr-defined]
        output.line(at_place(problem))
