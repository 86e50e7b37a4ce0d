"""`execfabric stop`: stop the dispatch of steps, list such stops, and lift them."""

from typing import Annotated, Any

import typer

from execfabric.cli.output import Output
from execfabric.cli.session import segment, session

app = typer.Typer(help="Stop the dispatch of all steps, or of those of one skill.")
COLUMNS = ("id", "skill", "since", "by", "lifted", "still running", "reason")
SHOWN = ("id", "skill", "reason", "cancel", "set_by_name", "set_at", "running")


@app.callback(invoke_without_command=True)
def stop(
    ctx: typer.Context,
    skill: Annotated[
        str, typer.Option("--skill", help="Only the steps of this skill.")
    ] = "",
    reason: Annotated[str, typer.Option("--reason", help="Shown to all users.")] = "",
    cancel: Annotated[
        bool, typer.Option("--cancel", help="Cancel the runs with running steps.")
    ] = False,
) -> None:
    """Stop all steps, or those of one skill: running steps finish, no other starts."""
    if ctx.invoked_subcommand is not None:
        if skill or reason or cancel:
            message = (
                f"options of a stop are not valid before '{ctx.invoked_subcommand}'"
            )
            raise typer.BadParameter(message)
        return
    if not reason:
        raise typer.BadParameter("a reason is required", param_hint="--reason")
    now = session(ctx)
    body = {"skill": skill, "reason": reason, "cancel": cancel}
    now.output.result(now.client.post("stops", body), _show)


@app.command("list")
def list_stops(
    ctx: typer.Context,
    active: Annotated[
        bool, typer.Option("--active", help="Only those not lifted.")
    ] = False,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 50,
    after: Annotated[
        str | None, typer.Option(help="Only those before this stop.")
    ] = None,
) -> None:
    """List stops, newest first."""
    now = session(ctx)
    wanted = {"active": True} if active else {}
    page = now.client.get("stops", limit=limit, after=after, **wanted)
    now.output.result(page["items"], _show_list)


@app.command()
def lift(
    ctx: typer.Context,
    stop_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the stop.")],
    reason: Annotated[str, typer.Option("--reason", help="Why it is over.")],
) -> None:
    """Lift a stop: steps that no other stop covers start again."""
    now = session(ctx)
    row = now.client.post(f"stops/{segment(stop_id)}:lift", {"reason": reason})
    now.output.result(row, _show)


def _show(output: Output, row: dict[str, Any]) -> None:
    output.fields((name, row[name]) for name in SHOWN)
    if row["lifted_at"]:
        names = ("lifted_by_name", "lifted_at", "lift_reason")
        output.fields((name, row[name]) for name in names)


def _show_list(output: Output, rows: list[dict[str, Any]]) -> None:
    keys = ("set_at", "set_by_name", "lifted_at", "running", "reason")
    cells = [
        [
            row["id"],
            row["skill"] or "all",
            *("" if row[key] is None else row[key] for key in keys),
        ]
        for row in rows
    ]
    output.table(COLUMNS, cells)
