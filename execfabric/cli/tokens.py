"""`execfabric token`: list and revoke tokens."""

from typing import Annotated

import typer

from execfabric.cli.session import segment, session

app = typer.Typer(no_args_is_help=True, help="List and revoke tokens.")
COLUMNS = ("id", "holder", "state", "expires_at", "label")


@app.command("list")
def list_tokens(ctx: typer.Context) -> None:
    """List your tokens and those of your agents."""
    now = session(ctx)
    now.output.listing(now.client.get("tokens")["items"], COLUMNS)


@app.command()
def revoke(
    ctx: typer.Context, token_id: Annotated[str, typer.Argument(metavar="ID")]
) -> None:
    """Revoke a token. Every later request with it is refused."""
    now = session(ctx)
    revoked = now.client.post(f"tokens/{segment(token_id)}:revoke")
    fields = [(name, revoked[name]) for name in COLUMNS]
    now.output.result(revoked, lambda output, _: output.fields(fields))
