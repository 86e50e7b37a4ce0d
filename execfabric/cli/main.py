"""The root of the `execfabric` command."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.exceptions import TyperException

from execfabric.cli import gates, plans, registry, runs, steps, tokens, trace
from execfabric.cli.client import Client, Exit, Failed, url_from_environment
from execfabric.cli.output import Output
from execfabric.cli.session import Session, session

JSON_OPTION = "--json"

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Propose plans, watch runs, answer gates, verify the record.",
    epilog=(
        "Exit codes: 0 ok, 1 failed, 2 usage, 3 waiting for approval, 4 denied,"
        " 5 not found. EXECFABRIC_URL and EXECFABRIC_TOKEN say where and as whom."
    ),
)
app.add_typer(plans.app, name="plan")
app.add_typer(runs.app, name="run")
app.add_typer(steps.app, name="step")
app.add_typer(gates.app, name="gate")
app.add_typer(registry.app, name="skill")
app.add_typer(tokens.app, name="token")
app.add_typer(trace.app, name="trace")


@app.callback()
def root(
    ctx: typer.Context,
    json: Annotated[
        bool, typer.Option(JSON_OPTION, help="Answer with one JSON document.")
    ] = False,
) -> None:
    """Open the session that all commands share."""
    token = os.environ.get("EXECFABRIC_TOKEN", "")
    client = Client(url=url_from_environment(), token=token)
    ctx.call_on_close(client.close)
    ctx.obj = Session(client=client, output=Output(as_json=json))


@app.command()
def whoami(ctx: typer.Context) -> None:
    """Show who the token speaks for and what they may do."""
    now = session(ctx)
    me = now.client.get("me")
    if now.output.as_json:
        now.output.document(me)
    else:
        now.output.fields(
            (name, me[name]) for name in ("name", "key", "owner", "rights")
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and leave with its exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    as_json = JSON_OPTION in given
    if as_json:
        # Accepted before and after the subcommand alike.
        given = [JSON_OPTION, *(part for part in given if part != JSON_OPTION)]
    try:
        # Alone, typer draws its errors for people and leaves by itself.
        code = app(args=given, prog_name="execfabric", standalone_mode=not as_json)
    except Failed as failed:
        Output(as_json=as_json).problem(failed.problem)
        code = failed.exit_code
    except TyperException as wrong:
        problem = {"code": "cli.usage", "detail": wrong.format_message()}
        Output(as_json=as_json).problem(problem)
        code = Exit.USAGE
    sys.exit(code or Exit.OK)
