"""`execfabric run`: list, show, watch and control runs."""

import json
import time
from collections.abc import Iterable, Iterator
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
    waiting_for: Annotated[
        str | None,
        typer.Option(
            help="Only runs that wait for this: `approval`, `answer`, `failure`, `outcome`,"
            " `resume`, `event`, `time`, `retry`, `place` or `worker`."
        ),
    ] = None,
    trace: Annotated[
        str | None, typer.Option(help="Their trace, or that of their proposer.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 50,
    after: Annotated[str | None, typer.Option(help="Start after this run.")] = None,
) -> None:
    """List runs, newest first."""
    now = session(ctx)
    filters = {"state": state, "waiting_for": waiting_for, "trace": trace}
    page = now.client.get("runs", **filters, limit=limit, after=after)
    columns = ("id", "state", "plan", "proposer", "created", "status")
    keys = ("id", "state", "plan", "proposer_name", "created_at", "status")
    now.output.listing(page["items"], columns, keys)


@app.command()
def get(ctx: typer.Context, run_id: RunId) -> None:
    """Show a run and its steps."""
    now = session(ctx)
    now.output.result(now.client.get(f"runs/{segment(run_id)}"), _show)


@app.command()
def watch(ctx: typer.Context, run_id: RunId) -> None:
    """Watch a run until it ends, waits for approval (exit 3) or pauses (exit 1)."""
    now = session(ctx)
    run, code = _until_settled(now, f"runs/{segment(run_id)}")
    now.output.result(run, _show)
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
def abort(
    ctx: typer.Context,
    run_id: RunId,
    reason: Annotated[
        str, typer.Option("--reason", help="The reason, for the audit log.")
    ],
) -> None:
    """End a run as failed. Running steps finish first; others are skipped."""
    _control(ctx, run_id, "abort", {"reason": reason})


@app.command()
def events(
    ctx: typer.Context,
    run_id: RunId,
    after: Annotated[int, typer.Option(min=0, metavar="SEQ")] = 0,
) -> None:
    """Show the events of a run, in order."""
    now = session(ctx)
    run_events = _events_after(now.client, f"runs/{segment(run_id)}", after)
    now.output.result(run_events, _show_events)


@app.command()
def artifacts(ctx: typer.Context, run_id: RunId) -> None:
    """Show which artifacts a run is expected to return, and which are done."""
    now = session(ctx)
    tracked = now.client.get(f"runs/{segment(run_id)}/artifacts")
    now.output.result(tracked, _show_artifacts)


def _show_artifacts(output: Output, tracked: dict[str, Any]) -> None:
    output.line(f"{tracked['done']} of {tracked['total']} done")
    cells = (
        (row["progress"], row["name"], ", ".join(v["id"] for v in row["versions"]))
        for row in tracked["items"]
    )
    output.table(("progress", "artifact", "version"), cells)
    if tracked["more"]:
        output.line(f"and {tracked['more']} more")


def _control(
    ctx: typer.Context, run_id: str, verb: str, body: dict[str, Any] | None
) -> None:
    now = session(ctx)
    run = now.client.post(f"runs/{segment(run_id)}:{verb}", body)
    now.output.result(run, _show)


def _show_stops(output: Output, stops: list[dict[str, Any]]) -> None:
    for stop in stops:
        what = f"skill {stop['skill']}" if stop["skill"] else "all steps"
        output.line("held by stop", stop["id"], f"({what})", stop["reason"])


def _until_settled(now: Session, path: str) -> tuple[dict[str, Any], Exit]:
    cursor, responded_at = 0, time.monotonic()
    stops: list[dict[str, Any]] = []
    while True:
        try:
            run = now.client.get(path)
            fresh = _events_after(now.client, path, cursor)
            if not now.output.as_json:
                _show_events(now.output, fresh)
                if run["stops"] != stops:
                    _show_stops(now.output, run["stops"])
            stops = run["stops"]
            cursor = fresh[-1]["seq"] if fresh else cursor
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


def _events_after(client: Client, path: str, cursor: int) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    while page := client.get(f"{path}/events", after=cursor, limit=1000)["items"]:
        events.extend(page)
        cursor = page[-1]["seq"]
    return events


def _show_events(output: Output, events: list[dict[str, Any]]) -> None:
    for event in events:
        seq, step = f"{event['seq']:>5}", event["step"] or "-"
        item = (event.get("payload") or {}).get("item")
        step = step if item is None else f"{step} [{item}]"
        output.line(seq, event["at"], event["kind"], step, event["actor"]["name"])


def _show(output: Output, run: dict[str, Any]) -> None:
    names = (
        "id",
        "state",
        "status",
        "reason",
        "plan",
        "revision",
        "digest",
        "proposer_name",
    )
    pairs = [(name, run[name]) for name in names]
    if template := run["template"]:
        pairs.append(("template", f"{template['plan']}@{template['revision']}"))
    if original := run["rerun_of"]:
        pairs.append(("rerun of", original))
        pairs.append(("from step", run["rerun_from"] or "the beginning"))
    if parent := run["parent_trace_id"]:
        pairs.append(("parent trace", parent))
    output.fields([*pairs, ("trace", run["trace_id"]), ("url", run["url"])])
    _show_stops(output, run["stops"])
    _show_dry_run(output, run["dry_run"])
    columns = ("step", "state", "attempts", "started", "finished", "error")
    keys = ("attempts", "started_at", "finished_at")
    rows = [
        [path, _state(step), *(step[key] for key in keys), _sentence(step["error"])]
        for path, step in _with_items(run["steps"])
    ]
    output.table(columns, rows)
    if run["output"] is not None:
        output.line("output", json.dumps(run["output"], ensure_ascii=False))
    for gate in run["gates"]:
        subject = (gate["id"], gate["step"] or "plan", gate["label"])
        output.line("waiting for approval: gate", *subject)


def _with_items(
    steps: Iterable[dict[str, Any]], around: str = ""
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return each step with its path, followed by the step runs inside it."""
    for step in steps:
        label = step["id"] if step["item"] is None else f"{step['id']} [{step['item']}]"
        path = f"{around}/{label}" if around else label
        yield path, step
        # An item of a list, and a fallback, are named like their step.
        yield from _with_items(step["items"], path if step["plan"] else around)


def _show_dry_run(output: Output, dry_run: dict[str, Any] | None) -> None:
    if dry_run is None:
        return
    coverage = dry_run["coverage"]
    covers = "" if coverage is None else f"{coverage}% covered"
    output.line("dry run", dry_run["state"], covers, dry_run["reason"])
    for failure in dry_run["would_fail"]:
        output.line("would fail:", failure["step"], failure["message"])


def _state(step: dict[str, Any]) -> str:
    return f"{step['state']}, reused" if step["reused_from"] else str(step["state"])


def _sentence(error: Any) -> Any:
    return error.get("message", error) if isinstance(error, dict) else error
