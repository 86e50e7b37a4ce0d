"""`execfabric skill`: list and show skills."""

from typing import Annotated, Any

import typer

from execfabric.cli.output import Output
from execfabric.cli.session import segment, session

app = typer.Typer(no_args_is_help=True, help="List and show skills.")


@app.command("list")
def list_skills(ctx: typer.Context) -> None:
    """List the skills that you have access to."""
    now = session(ctx)
    columns = ("slug", "version", "state", "domain", "name")
    now.output.listing(now.client.get("skills")["items"], columns)


@app.command()
def show(
    ctx: typer.Context, slug: Annotated[str, typer.Argument(metavar="SLUG")]
) -> None:
    """Show a skill and its actions."""
    now = session(ctx)
    now.output.result(now.client.get(f"skills/{segment(slug)}"), _show)


def _show(output: Output, skill: dict[str, Any]) -> None:
    names = ("slug", "name", "description", "state", "version", "digest")
    output.fields((name, skill[name]) for name in names)
    actions = (skill["contract"] or {}).get("actions", [])
    columns = ("action", "risk", "effect_class", "undo", "dry_run", "summary")
    keys = ("name", *columns[1:])
    output.table(columns, ([action[key] or None for key in keys] for action in actions))
