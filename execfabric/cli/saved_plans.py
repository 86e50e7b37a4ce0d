"""`execfabric plan` for saved plans: save, list, show, start and compare."""

from typing import Annotated, Any

import typer

from execfabric.cli.output import Output
from execfabric.cli.plans import show_proposed
from execfabric.cli.session import (
    Inputs,
    PlanFile,
    TraceParent,
    inputs_of,
    read_plan,
    segment,
    session,
)

app = typer.Typer()
"""Its commands are those of `execfabric plan`, too."""
PlanName = Annotated[str, typer.Argument(metavar="NAME", help="Id of the plan.")]
Revision = Annotated[
    int | None,
    typer.Option("--revision", min=1, help="A revision; the newest by default."),
]


@app.command()
def save(ctx: typer.Context, file: PlanFile) -> None:
    """Save a plan without a run."""
    now = session(ctx)
    saved = now.client.post("plans", {"plan": read_plan(file)})
    now.output.result(saved, _show_saved)


@app.command("list")
def list_plans(
    ctx: typer.Context,
    search: Annotated[
        str, typer.Option("--search", help="Words of the id or the name.")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=200)] = 50,
    after: Annotated[str, typer.Option(help="Start after this plan.")] = "",
) -> None:
    """List the saved plans that you have access to."""
    now = session(ctx)
    page = now.client.get("plans", q=search, limit=limit, after=after)
    columns = ("id", "revision", "owner", "changed", "name")
    keys = ("id", "revision", "owner_name", "changed_at", "name")
    now.output.listing(page["items"], columns, keys)


@app.command()
def show(
    ctx: typer.Context,
    name: PlanName,
    revision: Revision = None,
    source: Annotated[
        bool, typer.Option("--source", help="Print only the text, as it was written.")
    ] = False,
) -> None:
    """Show a saved plan: its inputs, its revisions and its source."""
    now = session(ctx)
    plan = now.client.get(f"plans/{segment(name)}", revision=revision)
    now.output.result(plan, _show_source if source else _show_plan)


@app.command()
def start(
    ctx: typer.Context,
    name: PlanName,
    inputs: Inputs = [],  # noqa: B006  typer copies it
    revision: Revision = None,
    traceparent: TraceParent = "",
) -> None:
    """Propose a run of a saved plan, which waits for approval."""
    now = session(ctx)
    body = {"inputs": inputs_of(now, inputs), "revision": revision}
    path = f"plans/{segment(name)}/runs"
    proposed = now.client.post(path, body, traceparent=traceparent)
    now.output.result(proposed, show_proposed)


@app.command()
def diff(
    ctx: typer.Context,
    name: PlanName,
    before: Annotated[int, typer.Argument(metavar="A", min=1)],
    after: Annotated[int, typer.Argument(metavar="B", min=1)],
) -> None:
    """Show what differs between two revisions, by step."""
    now = session(ctx)
    found = now.client.get(f"plans/{segment(name)}/diff/{before}/{after}")
    now.output.result(found, _show_diff)


def _show_saved(output: Output, saved: dict[str, Any]) -> None:
    output.fields((name, saved[name]) for name in ("id", "revision", "digest"))
    output.line(saved["url"])


def _show_source(output: Output, plan: dict[str, Any]) -> None:
    output.line(plan["source"].removesuffix("\n"))


def _show_plan(output: Output, plan: dict[str, Any]) -> None:
    names = ("id", "name", "description", "revision", "digest")
    pairs = [(name, plan[name]) for name in names]
    output.fields([*pairs, ("owner", plan["owner_name"])])
    schema = plan["inputs"] or {}
    required = schema.get("required", [])
    rows = [
        (key, "yes" if key in required else "no", rule)
        for key, rule in schema.get("properties", {}).items()
    ]
    if rows:
        output.table(("input", "required", "schema"), rows)
    keys = ("revision", "author_name", "created_at", "digest")
    columns = ("revision", "author", "saved", "digest")
    output.table(columns, ([row[key] for key in keys] for row in plan["revisions"]))
    for grant in plan["rights"]:
        output.line("right", grant["right"], grant["kind"], grant["name"])
    output.line("")
    output.line(plan["source"])


def _show_diff(output: Output, found: dict[str, Any]) -> None:
    if not found["plan"] and not found["steps"]:
        output.line("No differences.")
    for change in found["plan"]:
        _show_change(output, "plan", change)
    for step in found["steps"]:
        output.line(step["step"], step["change"])
        for change in (step["risk"], step["approval"], *step["fields"]):
            if change:
                _show_change(output, f"  {step['step']}", change)


def _show_change(output: Output, where: str, change: dict[str, Any]) -> None:
    output.line(where, f"{change['field']}:", change["before"], "->", change["after"])
