"""`execfabric schedule`: list, show, create, pause, resume and delete schedules."""

from typing import Annotated, Any

import typer

from execfabric.cli.output import Output
from execfabric.cli.session import Inputs, read_inputs, segment, session

app = typer.Typer(no_args_is_help=True, help="Propose saved plans at fixed times.")
ScheduleId = Annotated[str, typer.Argument(metavar="ID", help="Id of the schedule.")]
COLUMNS = ("id", "state", "plan", "cron", "zone", "next", "name")
KEYS = ("id", "state", "plan", "cron", "zone", "next_at", "name")
SHOWN = (
    "id",
    "name",
    "plan",
    "revision",
    "cron",
    "zone",
    "catch_up",
    "overlap",
    "owner_name",
    "state",
    "reason",
)


@app.command("list")
def list_schedules(
    ctx: typer.Context,
    plan: Annotated[str, typer.Option("--plan", help="Only those of a plan.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=200)] = 50,
    after: Annotated[str, typer.Option(help="Start after this schedule.")] = "",
) -> None:
    """List the schedules that you have access to."""
    now = session(ctx)
    page = now.client.get("schedules", plan=plan, limit=limit, after=after or None)
    now.output.listing(page["items"], COLUMNS, KEYS)


@app.command()
def show(ctx: typer.Context, schedule: ScheduleId) -> None:
    """Show a schedule with its next and its last firings."""
    now = session(ctx)
    row = now.client.get(f"schedules/{segment(schedule)}")
    now.output.result(row, _show)


@app.command()
def create(
    ctx: typer.Context,
    *,
    plan: Annotated[str, typer.Argument(metavar="PLAN", help="Id of a saved plan.")],
    cron: Annotated[
        str, typer.Option("--cron", help="For example '30 6 * * MON-FRI'.")
    ],
    name: Annotated[str, typer.Option("--name", help="By default the plan.")] = "",
    zone: Annotated[str, typer.Option("--zone", help="Time zone.")] = "UTC",
    inputs: Inputs = [],  # noqa: B006  typer copies it
    revision: Annotated[
        int | None, typer.Option("--revision", min=1, help="Newest by default.")
    ] = None,
    catch_up: Annotated[
        str, typer.Option("--catch-up", help="Missed firings: skip, one or all.")
    ] = "one",
    overlap: Annotated[
        str, typer.Option("--overlap", help="Last run open: skip, wait or allow.")
    ] = "skip",
) -> None:
    """Create a schedule of a saved plan, whose runs you cannot approve."""
    now = session(ctx)
    body = {
        "plan": plan,
        "name": name or plan,
        "cron": cron,
        "zone": zone,
        "revision": revision,
        "inputs": read_inputs(inputs),
        "catch_up": catch_up,
        "overlap": overlap,
    }
    now.output.result(now.client.post("schedules", body), _show)


@app.command()
def pause(ctx: typer.Context, schedule: ScheduleId) -> None:
    """Pause a schedule."""
    _act(ctx, schedule, "pause")


@app.command()
def resume(ctx: typer.Context, schedule: ScheduleId) -> None:
    """Resume a paused schedule."""
    _act(ctx, schedule, "resume")


@app.command()
def delete(ctx: typer.Context, schedule: ScheduleId) -> None:
    """Delete a schedule."""
    _act(ctx, schedule, "delete")


def _act(ctx: typer.Context, schedule: str, act: str) -> None:
    now = session(ctx)
    row = now.client.post(f"schedules/{segment(schedule)}:{act}", {})
    now.output.result(row, _show)


def _show(output: Output, row: dict[str, Any]) -> None:
    output.fields((name, row[name]) for name in SHOWN)
    for at in row["next"]:
        output.line("next", at)
    keys = ("due_at", "outcome", "count", "run_id", "code")
    if row["firings"]:
        cells = ([firing[key] for key in keys] for firing in row["firings"])
        output.table(("due", "outcome", "times", "run", "code"), cells)
    output.line(row["url"])
