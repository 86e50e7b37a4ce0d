"""The root of the `execfabric` command."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.exceptions import TyperException

from execfabric.cli import (
    artifacts,
    attention,
    events,
    gates,
    hooks,
    plans,
    registry,
    reruns,
    rollback,
    runs,
    saved_plans,
    schedules,
    steps,
    stops,
    tokens,
    trace,
)
from execfabric.cli.client import Client, CommandFailed, Exit, url_from_environment
from execfabric.cli.output import Output
from execfabric.cli.session import Session, session

JSON_OPTION = "--json"

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Propose plans, watch runs, decide gates, verify the audit log.",
    epilog=(
        "Exit codes: 0 ok, 1 failed, 2 usage, 3 waiting for approval, 4 denied,"
        " 5 not found. EXECFABRIC_URL is the server, EXECFABRIC_TOKEN the API token."
    ),
)
plans.app.add_typer(saved_plans.app)
runs.app.add_typer(rollback.app)
app.add_typer(plans.app, name="plan")
runs.app.add_typer(reruns.app)
app.add_typer(runs.app, name="run")
app.add_typer(steps.app, name="step")
app.add_typer(stops.app, name="stop")
app.add_typer(attention.app, name="attention")
app.add_typer(gates.app, name="gate")
app.add_typer(events.app, name="event")
app.add_typer(artifacts.app, name="artifact")
app.add_typer(schedules.app, name="schedule")
app.add_typer(hooks.app, name="hook")
app.add_typer(registry.app, name="skill")
app.add_typer(tokens.app, name="token")
app.add_typer(trace.app, name="trace")


@app.callback()
def root(
    ctx: typer.Context,
    json: Annotated[
        bool, typer.Option(JSON_OPTION, help="Print one JSON document.")
    ] = False,
) -> None:
    """Create the session that all commands share."""
    token = os.environ.get("EXECFABRIC_TOKEN", "")
    client = Client(url=url_from_environment(), token=token)
    ctx.call_on_close(client.close)
    ctx.obj = Session(client=client, output=Output(as_json=json))


@app.command()
def whoami(ctx: typer.Context) -> None:
    """Show the holder of the token and their rights."""
    now = session(ctx)
    me = now.client.get("me")
    fields = [(name, me[name]) for name in ("name", "key", "owner", "rights")]
    now.output.result(me, lambda output, _: output.fields(fields))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and exit with its code."""
    args = list(sys.argv[1:] if arguments is None else arguments)
    as_json = JSON_OPTION in args
    if as_json:
        # Accepted before and after the subcommand.
        args = [JSON_OPTION, *(part for part in args if part != JSON_OPTION)]
    try:
        # In standalone mode, typer prints its errors as text and exits by itself.
        code = app(args=args, prog_name="execfabric", standalone_mode=not as_json)
    except CommandFailed as failed:
        Output(as_json=as_json).problem(failed.problem)
        code = failed.exit_code
    except TyperException as error:
        problem = {"code": "cli.usage", "detail": error.format_message()}
        Output(as_json=as_json).problem(problem)
        code = Exit.USAGE
    sys.exit(code or Exit.OK)
