"""`execfabric run`: list, read, follow and steer runs."""

import time
from typing import Annotated, Any

import typer

from execfabric.cli.client import Client, Exit, Unreachable
from execfabric.cli.output import Output
from execfabric.cli.session import RunId, Session, segment, session

app = typer.Typer(no_args_is_help=True, help="Watch and steer runs.")

POLL_SECONDS = 0.5
PATIENCE_SECONDS = 30
"""How long `watch` waits for a server that does not answer any more."""

Reason = Annotated[str, typer.Option("--reason", help="Why; it is recorded.")]


@app.command("list")
def list_runs(
    ctx: typer.Context,
    state: Annotated[str | None, typer.Option(help="Only runs in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 50,
    after: Annotated[str | None, typer.Option(help="Go on behind this run.")] = None,
) -> None:
    """List runs, newest first."""
    now = session(ctx)
    found = now.client.get("runs", state=state, limit=limit, after=after)["items"]
    if now.output.as_json:
        now.output.document(found)
        return
    columns = ("id", "state", "plan", "proposer", "created")
    names = ("id", "state", "plan", "proposer_name", "created_at")
    now.output.table(columns, ([run[name] for name in names] for run in found))


@app.command()
def get(ctx: typer.Context, run_id: RunId) -> None:
    """Show a run with its steps."""
    now = session(ctx)
    run = now.client.get(f"runs/{segment(run_id)}")
    _show(now.output, run)


@app.command()
def watch(ctx: typer.Context, run_id: RunId) -> None:
    """Follow a run to its end, to a gate (exit 3) or to a pause (exit 1)."""
    now = session(ctx)
    run, code = _until_settled(now, f"runs/{segment(run_id)}")
    _show(now.output, run)
    raise typer.Exit(code)


@app.command()
def pause(ctx: typer.Context, run_id: RunId, reason: Reason = "") -> None:
    """Ask for a pause; what is running is finished first."""
    _steer(ctx, run_id, "pause", {"reason": reason})


@app.command()
def resume(ctx: typer.Context, run_id: RunId) -> None:
    """Let a paused run go on with what is not done."""
    _steer(ctx, run_id, "resume", None)


@app.command()
def cancel(ctx: typer.Context, run_id: RunId, reason: Reason = "") -> None:
    """End a run; what is running is finished first."""
    _steer(ctx, run_id, "cancel", {"reason": reason})


@app.command()
def events(
    ctx: typer.Context,
    run_id: RunId,
    after: Annotated[int, typer.Option(min=0, metavar="SEQ")] = 0,
) -> None:
    """Show the recorded events of a run, in order."""
    now = session(ctx)
    found = _behind(now.client, f"runs/{segment(run_id)}", after)
    if now.output.as_json:
        now.output.document(found)
        return
    for event in found:
        _tell(now.output, event)


def _steer(
    ctx: typer.Context, run_id: str, verb: str, body: dict[str, Any] | None
) -> None:
    now = session(ctx)
    run = now.client.post(f"runs/{segment(run_id)}:{verb}", body)
    _show(now.output, run)


def _until_settled(now: Session, path: str) -> tuple[dict[str, Any], Exit]:
    cursor, heard_at = 0, time.monotonic()
    while True:
        try:
            run = now.client.get(path)
            cursor = _follow(now, path, cursor)
            heard_at = time.monotonic()
            if (code := _settled(run)) is not None:
                return run, code
        except Unreachable:
            if not cursor or time.monotonic() - heard_at > PATIENCE_SECONDS:
                raise
        time.sleep(POLL_SECONDS)


def _settled(run: dict[str, Any]) -> Exit | None:
    """The exit code, once nothing more happens without a person."""
    if run["finished_at"]:
        return Exit.OK if run["state"] == "succeeded" else Exit.FAILED
    if run["gates"]:
        return Exit.WAITING
    return Exit.FAILED if run["state"] == "paused" else None


def _follow(now: Session, path: str, cursor: int) -> int:
    for event in _behind(now.client, path, cursor):
        if not now.output.as_json:
            _tell(now.output, event)
        cursor = event["seq"]
    return cursor


def _behind(client: Client, path: str, cursor: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    while page := client.get(f"{path}/events", after=cursor, limit=1000)["items"]:
        found.extend(page)
        cursor = page[-1]["seq"]
    return found


def _tell(output: Output, event: dict[str, Any]) -> None:
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
            "waiting at gate", gate["id"], gate["step"] or "plan", gate["label"]
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
