"""`execfabric gate`: list, show and decide gates."""

from typing import Annotated, Any

import typer

from execfabric.cli.client import CommandFailed, Exit
from execfabric.cli.output import Output
from execfabric.cli.session import GateId, Session, read_inputs, segment, session
from execfabric.lib import canonical

app = typer.Typer(no_args_is_help=True, help="List, show and decide gates (approvals).")

Digest = Annotated[
    str, typer.Option("--digest", help="The digest of the content, from `gate show`.")
]


@app.command("list")
def list_gates(
    ctx: typer.Context,
    run: Annotated[
        str | None, typer.Option(metavar="ID", help="Only gates of this run.")
    ] = None,
    status: Annotated[
        str | None,
        typer.Option(help="Only gates with this status: `open`, `approved`, ..."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 100,
    after: Annotated[str | None, typer.Option(help="Start after this gate.")] = None,
) -> None:
    """List gates, oldest first."""
    now = session(ctx)
    page = now.client.get("gates", run=run, status=status, limit=limit, after=after)
    columns = ("id", "run", "step", "status", "risk", "label")
    now.output.listing(page["items"], columns, ("id", "run_id", *columns[2:]))


@app.command()
def show(ctx: typer.Context, gate_id: GateId) -> None:
    """Show a gate and the exact content that an approval covers."""
    now = session(ctx)
    gate = now.client.get(f"gates/{segment(gate_id)}")
    computed = canonical.digest_of(gate["digest_domain"], gate["subject"])
    if computed != gate["digest"]:
        detail = (
            f"Cannot show gate {gate_id!r}: its content has the digest {computed},"
            f" not {gate['digest']}. Do not approve it; tell an auditor."
        )
        raise CommandFailed(
            Exit.FAILED, {"code": "cli.digest_differs", "detail": detail}
        )
    now.output.result(gate, _show)


@app.command()
def approve(
    ctx: typer.Context,
    gate_id: GateId,
    digest: Digest,
    comment: Annotated[str, typer.Option("--comment")] = "",
) -> None:
    """Approve the content with this digest."""
    _decide(ctx, gate_id, {"approve": True, "digest": digest, "comment": comment})


@app.command()
def reject(
    ctx: typer.Context,
    gate_id: GateId,
    digest: Digest,
    comment: Annotated[str, typer.Option("--comment", help="The reason.")],
) -> None:
    """Reject the content with this digest."""
    _decide(ctx, gate_id, {"approve": False, "digest": digest, "comment": comment})


@app.command()
def answer(
    ctx: typer.Context,
    gate_id: GateId,
    digest: Digest,
    values: Annotated[
        list[str],
        typer.Option("--value", metavar="K=V", help="A value, as JSON or text."),
    ] = [],  # noqa: B006  typer copies it
) -> None:
    """Answer a gate that asks for values."""
    now = session(ctx)
    body = {"digest": digest, "values": read_inputs(values, option="--value")}
    _print(now, now.client.post(f"gates/{segment(gate_id)}:answer", body))


def _decide(ctx: typer.Context, gate_id: str, body: dict[str, Any]) -> None:
    now = session(ctx)
    _print(now, now.client.post(f"gates/{segment(gate_id)}/decisions", body))


def _print(now: Session, gate: dict[str, Any]) -> None:
    parts = ("gate", gate["id"], "is", gate["status"])
    now.output.result(gate, lambda output, _: output.line(*parts))


def _show(output: Output, gate: dict[str, Any]) -> None:
    names = ("id", "run_id", "step", "status", "risk", "label", "digest", "expires_at")
    output.fields((name, gate[name]) for name in (*names, "settled_reason", "url"))
    for reason in gate["reasons"]:
        output.line("reason:", reason)
    output.block(gate["subject"])
    for seats in gate["still_eligible"]:
        approvers = ", ".join(seats["people"]) or "no one"
        count = f"{seats['have']} of {seats['count']} approvals;"
        output.line(f"{seats['group']}:", count, "can approve:", approvers)
    for decision in gate["decisions"]:
        verb = "approved" if decision["approve"] else "rejected"
        output.line(decision["at"], decision["name"], verb, decision["comment"])
