"""`execfabric gate`: what waits for people, and their answers."""

from typing import Annotated, Any

import typer

from execfabric.cli.client import Exit, Failed
from execfabric.cli.output import Output
from execfabric.cli.session import GateId, segment, session
from execfabric.lib import canonical

app = typer.Typer(no_args_is_help=True, help="See and answer gates.")

Digest = Annotated[
    str, typer.Option("--digest", help="The digest of the content that you looked at.")
]


@app.command("list")
def list_gates(
    ctx: typer.Context,
    run: Annotated[str | None, typer.Option(metavar="ID", help="Of this run.")] = None,
    status: Annotated[
        str | None, typer.Option(help="`open`, or one status such as `approved`.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 100,
    after: Annotated[str | None, typer.Option(help="Go on behind this gate.")] = None,
) -> None:
    """List gates, oldest first."""
    now = session(ctx)
    found = now.client.get("gates", run=run, status=status, limit=limit, after=after)
    if now.output.as_json:
        now.output.document(found["items"])
        return
    columns = ("id", "run", "step", "status", "risk", "label")
    names = ("id", "run_id", "step", "status", "risk", "label")
    now.output.table(
        columns, ([gate[name] for name in names] for gate in found["items"])
    )


@app.command()
def show(ctx: typer.Context, gate_id: GateId) -> None:
    """Show what a gate asks: the very content that an approval covers."""
    now = session(ctx)
    gate = now.client.get(f"gates/{segment(gate_id)}")
    computed = canonical.digest_of(gate["digest_domain"], gate["subject"])
    if computed != gate["digest"]:
        detail = f"The content has the digest {computed}, not {gate['digest']}."
        raise Failed(Exit.FAILED, {"code": "cli.digest_differs", "detail": detail})
    _show(now.output, gate)


@app.command()
def approve(
    ctx: typer.Context,
    gate_id: GateId,
    digest: Digest,
    comment: Annotated[str, typer.Option("--comment")] = "",
) -> None:
    """Approve exactly the content of the digest."""
    _decide(ctx, gate_id, {"approve": True, "digest": digest, "comment": comment})


@app.command()
def reject(
    ctx: typer.Context,
    gate_id: GateId,
    digest: Digest,
    comment: Annotated[str, typer.Option("--comment", help="Why not.")],
) -> None:
    """Reject; the comment says why."""
    _decide(ctx, gate_id, {"approve": False, "digest": digest, "comment": comment})


def _decide(ctx: typer.Context, gate_id: str, body: dict[str, Any]) -> None:
    now = session(ctx)
    gate = now.client.post(f"gates/{segment(gate_id)}/decisions", body)
    if now.output.as_json:
        now.output.document(gate)
    else:
        now.output.line("gate", gate["id"], "is", gate["status"])


def _show(output: Output, gate: dict[str, Any]) -> None:
    if output.as_json:
        output.document(gate)
        return
    names = ("id", "run_id", "step", "status", "risk", "label", "digest", "expires_at")
    output.fields((name, gate[name]) for name in (*names, "settled_reason", "url"))
    for reason in gate["reasons"]:
        output.line("because", reason)
    output.block(gate["subject"])
    for seats in gate["still_eligible"]:
        people = ", ".join(seats["people"]) or "nobody"
        output.line(f"{seats['group']}: {seats['have']} of {seats['count']};", people)
    for given in gate["decisions"]:
        verb = "approved" if given["approve"] else "rejected"
        output.line(given["at"], given["name"], verb, given["comment"])
