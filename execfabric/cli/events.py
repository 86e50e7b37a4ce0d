"""`execfabric event`: send events to runs that wait for them, and list them."""

from typing import Annotated, Any

import typer

from execfabric.cli.output import Output
from execfabric.cli.session import json_object, segment, session

app = typer.Typer(no_args_is_help=True, help="Send events to runs, and list them.")
EventId = Annotated[str, typer.Argument(metavar="ID", help="Id of the event.")]


@app.command("list")
def list_events(
    ctx: typer.Context,
    event_type: Annotated[
        str, typer.Option("--type", help="Only events of this type.")
    ] = "",
    key: Annotated[str, typer.Option("--key", help="Only with this key.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=200)] = 50,
    after: Annotated[
        str | None, typer.Option(help="Only those before this event.")
    ] = None,
) -> None:
    """List received events, newest first, with the runs that waited for them."""
    now = session(ctx)
    page = now.client.get("events", type=event_type, key=key, limit=limit, after=after)
    now.output.result(page["items"], _show_list)


@app.command()
def show(
    ctx: typer.Context,
    event: EventId,
    limit: Annotated[int, typer.Option(min=1, max=200, help="Waits shown.")] = 50,
    after: Annotated[
        str | None, typer.Option(help="Only waits after this one.")
    ] = None,
) -> None:
    """Show an event with its payload and the waits that it has ended."""
    now = session(ctx)
    shown = now.client.get(f"events/{segment(event)}", limit=limit, after=after)
    now.output.result(shown, _show_event)


@app.command()
def send(
    ctx: typer.Context,
    event_type: Annotated[
        str, typer.Argument(metavar="TYPE", help="Such as invoice.paid.")
    ],
    key: Annotated[str, typer.Option("--key", help="Such as a number.")] = "",
    payload: Annotated[
        str, typer.Option("--payload", metavar="JSON", help="A JSON object.")
    ] = "{}",
    event_id: Annotated[
        str,
        typer.Option("--id", help="Sending the same id again changes nothing."),
    ] = "",
) -> None:
    """Send an event: it ends every wait for its type and key."""
    now = session(ctx)
    body = {
        "type": event_type,
        "key": key,
        "payload": json_object(payload, option="--payload"),
    }
    sent = now.client.post("events", body, idempotency_key=event_id)
    now.output.result(sent, _show)


def _show_list(output: Output, events: list[dict[str, Any]]) -> None:
    columns = ("id", "received", "type", "key", "sender", "ended the wait of")
    keys = ("id", "received_at", "type", "key", "sender_name")
    rows = [[*(each[name] for name in keys), _taken(each)] for each in events]
    output.table(columns, rows)


def _show_event(output: Output, event: dict[str, Any]) -> None:
    names = ("id", "type", "key", "sender_name", "received_at", "expires_at")
    output.fields([*((name, event[name]) for name in names), ("waits", _taken(event))])
    if event["next"]:
        output.line("more waits: --after", event["next"])
    output.block(event["payload"])
    output.line(event["url"])


def _taken(event: dict[str, Any]) -> str:
    waits = [f"{wait['run']} {wait['step']}" for wait in event["taken_by"]]
    if waits and event["taken_count"] > len(waits):
        return f"{event['taken_count']} waits: {', '.join(waits)}, ..."
    return ", ".join(waits) or ("another run" if event["is_taken"] else "no wait")


def _show(output: Output, sent: dict[str, Any]) -> None:
    output.fields([("event", sent["id"]), ("waits", sent["waits"])])
    if not sent["waits"]:
        output.line("Stored for a wait that begins before", sent["expires_at"])
