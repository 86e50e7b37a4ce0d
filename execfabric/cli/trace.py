"""`execfabric trace`: whether the record is what was written."""

import typer

from execfabric.cli.client import Exit
from execfabric.cli.session import RunId, segment, session

app = typer.Typer(no_args_is_help=True, help="Check the record.")


@app.callback()
def root() -> None:
    """Check the record."""


@app.command()
def verify(ctx: typer.Context, run_id: RunId) -> None:
    """Check the record of a run. Exit 1 names the first broken event."""
    now = session(ctx)
    found = now.client.get(f"runs/{segment(run_id)}/trace:verify")
    broken = found["broken"]
    if now.output.as_json:
        now.output.document(found)
    elif broken:
        now.output.line(
            "BROKEN", found["stream"], f"at seq {broken['seq']}:", broken["reason"]
        )
        now.output.fields(
            [("expected", broken["expected"]), ("found", broken["found"])]
        )
    else:
        now.output.line(
            "ok", found["stream"], f"{found['events']} events, head {found['head']}"
        )
    raise typer.Exit(Exit.FAILED if broken else Exit.OK)
