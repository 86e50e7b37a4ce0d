"""`execfabric run rollback`: preview the undo of a run, confirm it, follow it."""

import json
from typing import Annotated, Any

import typer

from execfabric.cli.client import UsageProblem
from execfabric.cli.output import Output
from execfabric.cli.session import segment, session

app = typer.Typer()
"""Its command is one of `execfabric run`, too."""


@app.command()
def rollback(
    ctx: typer.Context,
    run_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the run.")] = "",
    reason: Annotated[
        str, typer.Option("--reason", help="The reason; without it, only a preview.")
    ] = "",
    to: Annotated[
        str, typer.Option("--to", metavar="STEP", help="The last step that stays.")
    ] = "",
    last: Annotated[
        str,
        typer.Option(
            "--last", metavar="PLAN", help="The last failed run of this plan."
        ),
    ] = "",
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask for confirmation.")
    ] = False,
) -> None:
    """Undo the completed steps of a run, the last one first; preview it first."""
    if bool(run_id) == bool(last):
        detail = "Name one run: its ID, or --last PLAN."
        raise UsageProblem("cli.run_missing", detail)
    now = session(ctx)
    if last:
        run_id = now.client.get(f"plans/{segment(last)}/last-failed-run")["id"]
    path = f"runs/{segment(run_id)}"
    shown = now.client.get(f"{path}/rollback", to=to)
    if not reason:  # a preview
        now.output.result(shown, _show)
        return
    if not yes:
        if now.output.as_json:
            detail = "With --json nothing is asked. Confirm with --yes."
            raise UsageProblem("cli.yes_missing", detail)
        _show(now.output, shown)
        typer.confirm(f"Roll back run {run_id}?", abort=True, err=True)
    body = {"reason": reason, "digest": shown["digest"], "to": to}
    run = now.client.post(f"{path}:rollback", body)
    parts = ("run", run["id"], "is", run["state"])
    now.output.result(run, lambda output, _: output.line(*parts))


def _show(output: Output, shown: dict[str, Any]) -> None:
    rows = [
        (
            undo["step"],
            f"{undo['skill']} {undo['action']}",
            undo["reason"] or json.dumps(undo["params"], ensure_ascii=False),
        )
        for undo in shown["undo"]
    ]
    output.table(("undo of", "action", "parameters"), rows)
    for step in shown["not_undone"]:
        output.line("not undone:", step["step"], step["reason"])
    if shown["read_only"]:
        output.line("nothing to undo:", ", ".join(shown["read_only"]))
