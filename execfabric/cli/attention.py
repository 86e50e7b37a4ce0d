"""`execfabric attention`: list what needs a person, and take it."""

from typing import Annotated, Any

import typer

from execfabric.cli.session import segment, session

app = typer.Typer(
    invoke_without_command=True, help="List what needs a person, and take it."
)

Key = Annotated[
    str, typer.Argument(metavar="KEY", help="The key of an item in the queue.")
]


@app.callback()
def attention(
    ctx: typer.Context,
    kind: Annotated[str | None, typer.Option(help="Only items of this kind.")] = None,
) -> None:
    """List what needs a person, the oldest first."""
    if ctx.invoked_subcommand is not None:
        return
    now = session(ctx)
    items = now.client.get("attention", kind=kind)["items"]
    rows = [{**item, "owner": _owner(item)} for item in items]
    columns = ("key", "what", "plan", "step", "since", "owner", "next", "text")
    keys = ("key", "title", "plan", "step", "since", "owner", "action", "text")
    now.output.result(
        items,
        lambda output, _: output.table(
            columns, ([row[key] for key in keys] for row in rows)
        ),
    )


@app.command()
def take(ctx: typer.Context, key: Key) -> None:
    """Take care of an item, so that others know."""
    _act(ctx, key, "take")


@app.command()
def release(ctx: typer.Context, key: Key) -> None:
    """Release an item, so that another user can take it."""
    _act(ctx, key, "release")


@app.command()
def failures(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 50,
    after: Annotated[int | None, typer.Option(help="Start after this record.")] = None,
) -> None:
    """List failed attempts, newest first."""
    now = session(ctx)
    items = now.client.get("failures", limit=limit, after=after)["items"]
    columns = ("id", "failure", "run", "step", "ms", "step now", "error")
    rows = (
        (
            *(item[key] for key in ("id", "name", "run_id", "step", "elapsed_ms")),
            item["step_state"],
            item["error"]["message"],
        )
        for item in items
    )
    now.output.result(items, lambda output, _: output.table(columns, rows))


@app.command(name="re-emit")
def re_emit(
    ctx: typer.Context,
    failure_id: Annotated[
        int, typer.Argument(metavar="ID", help="Id of a failure record.")
    ],
    reason: Annotated[
        str, typer.Option("--reason", help="The reason of a retry; it is recorded.")
    ] = "",
) -> None:
    """Retry the step of a failure; if its run has ended, propose it again."""
    now = session(ctx)
    run = now.client.post(f"failures/{failure_id}:re-emit", {"reason": reason})
    parts = ("run", run["run_id"], "is", run["state"])
    now.output.result(run, lambda output, _: output.line(*parts))


def _act(ctx: typer.Context, key: str, verb: str) -> None:
    now = session(ctx)
    item = now.client.post(f"attention/{segment(key)}:{verb}")
    now.output.result(
        item, lambda output, _: output.line(item["key"], "is with", _owner(item))
    )


def _owner(item: dict[str, Any]) -> str:
    return item["owner"]["name"] if item["owner"] else "no one"
