"""`execfabric plan`: check a plan, see what it would do, propose it."""

import typer

from execfabric.cli.client import Exit
from execfabric.cli.output import Output, at_place
from execfabric.cli.session import Inputs, PlanFile, read_inputs, read_plan, session

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
    """Say what each step would do. Nothing is touched."""
    now = session(ctx)
    body = {"plan": read_plan(file), "inputs": read_inputs(inputs)}
    found = now.client.post("plans:dry-run", body)
    if now.output.as_json:
        now.output.document(found)
    else:
        _show(now.output, found)
        for step in found["steps"]:
            now.output.block(step)
        now.output.line(f"coverage: {found['coverage']} %")
    raise typer.Exit(Exit.OK if found["valid"] else Exit.FAILED)


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
