"""`execfabric run`: list, show, watch and control runs."""

import time
from typing import Annotated, Any

import typer

from execfabric.cli.client import Client, Exit, ServerUnreachable
from execfabric.cli.output import Output
from execfabric.cli.session import RunId, Session, segment, session

app = typer.Typer(no_args_is_help=True, help="List, watch and control runs.")

POLL_SECONDS = 0.5
PATIENCE_SECONDS = 30
"""The time that `watch` waits for a server that stopped responding."""

Reason = Annotated[str, typer.Option("--reason", help="The reason, for the audit log.")]


@app.command("list")
def list_runs(
    ctx: typer.Context,
    state: Annotated[str | None, typer.Option(help="Only runs in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 50,
    after: Annotated[str | None, typer.Option(help="Start after this run.")] = None,
) -> None:
    """List runs, newest first."""
    now = session(ctx)
    runs = now.client.get("runs", state=state, limit=limit, after=after)["items"]
    if now.output.as_json:
        now.output.document(runs)
        return
    columns = ("id", "state", "plan", "proposer", "created")
    names = ("id", "state", "plan", "proposer_name", "created_at")
    now.output.table(columns, ([run[name] for name in names] for run in runs))


@app.command()
def get(ctx: typer.Context, run_id: RunId) -> None:
    """Show a run and its steps."""
    now = session(ctx)
    run = now.client.get(f"runs/{segment(run_id)}")
    _show(now.output, run)


@app.command()
def watch(ctx: typer.Context, run_id: RunId) -> None:
    """Watch a run until it ends, waits for approval (exit 3) or pauses (exit 1)."""
    now = session(ctx)
    run, code = _until_settled(now, f"runs/{segment(run_id)}")
    _show(now.output, run)
    raise typer.Exit(code)


@app.command()
def pause(ctx: typer.Context, run_id: RunId, reason: Reason = "") -> None:
    """Pause a run. Running steps finish first."""
    _control(ctx, run_id, "pause", {"reason": reason})


@app.command()
def resume(ctx: typer.Context, run_id: RunId) -> None:
    """Resume a paused run."""
    _control(ctx, run_id, "resume", None)


@app.command()
def cancel(ctx: typer.Context, run_id: RunId, reason: Reason = "") -> None:
    """Cancel a run. Running steps finish first."""
    _control(ctx, run_id, "cancel", {"reason": reason})


@app.command()
def events(
    ctx: typer.Context,
    run_id: RunId,
    after: Annotated[int, typer.Option(min=0, metavar="SEQ")] = 0,
) -> None:
    """Show the events of a run, in order."""
    now = session(ctx)
    run_events = _events_after(now.client, f"runs/{segment(run_id)}", after)
    if now.output.as_json:
        now.output.document(run_events)
        return
    for event in run_events:
        _show_event(now.output, event)


def _control(
    ctx: typer.Context, run_id: str, verb: str, body: dict[str, Any] | None
) -> None:
    now = session(ctx)
    run = now.client.post(f"runs/{segment(run_id)}:{verb}", body)
    _show(now.output, run)


def _until_settled(now: Session, path: str) -> tuple[dict[str, Any], Exit]:
    cursor, responded_at = 0, time.monotonic()
    while True:
        try:
            run = now.client.get(path)
            cursor = _follow(now, path, cursor)
            responded_at = time.monotonic()
            if (code := _settled(run)) is not None:
                return run, code
        except ServerUnreachable:
            if not cursor or time.monotonic() - responded_at > PATIENCE_SECONDS:
                raise
        time.sleep(POLL_SECONDS)


def _settled(run: dict[str, Any]) -> Exit | None:
    """Return the exit code if the run needs a user or is finished, else None."""
    if run["finished_at"]:
        return Exit.OK if run["state"] == "succeeded" else Exit.FAILED
    if run["gates"]:
        return Exit.WAITING
    return Exit.FAILED if run["state"] == "paused" else None


def _follow(now: Session, path: str, cursor: int) -> int:
    for event in _events_after(now.client, path, cursor):
        if not now.output.as_json:
            _show_event(now.output, event)
        cursor = event["seq"]
    return cursor


def _events_after(client: Client, path: str, cursor: int) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    while page := client.get(f"{path}/events", after=cursor, limit=1000)["items"]:
        events.extend(page)
        cursor = page[-1]["seq"]
    return events


def _show_event(output: Output, event: dict[str, Any]) -> None:
    output.line(
        f"{event['seq']:>5}",
        event["at"],
        event["kind"],
        event["step"] or "-",
        event["actor"]["name"],
    )


def _show(output: Output, run: dict[str, Any]) -> None:
    if output.as_json:
        output.document(run)
        return
    names = (
        "id",
        "state",
        "reason",
        "plan",
        "revision",
        "digest",
        "proposer_name",
        "url",
    )
    output.fields((name, run[name]) for name in names)
    _show_dry_run(output, run["dry_run"])
    columns = ("step", "state", "attempts", "started", "finished", "error")
    rows = [
        (
            step["id"],
            step["state"],
            step["attempts"],
            step["started_at"],
            step["finished_at"],
            _sentence(step["error"]),
        )
        for step in run["steps"]
    ]
    output.table(columns, rows)
    for gate in run["gates"]:
        output.line(
            "waiting for approval: gate",
            gate["id"],
            gate["step"] or "plan",
            gate["label"],
        )


def _show_dry_run(output: Output, dry_run: dict[str, Any] | None) -> None:
    if dry_run is None:
        return
    coverage = dry_run["coverage"]
    covers = "" if coverage is None else f"{coverage} % covered"
    output.line("dry run", dry_run["state"], covers, dry_run["reason"])
    for failure in dry_run["would_fail"]:
        output.line("would fail:", failure["step"], failure["message"])


def _sentence(error: Any) -> Any:
    return error.get("message", error) if isinstance(error, dict) else error
