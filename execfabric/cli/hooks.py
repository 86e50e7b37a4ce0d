"""`execfabric hook`: list, show, create, change, rotate, pause, resume and delete webhooks."""

from typing import Annotated, Any

import typer

from execfabric.cli.client import UsageProblem
from execfabric.cli.output import Output
from execfabric.cli.session import Inputs, read_inputs, segment, session

app = typer.Typer(no_args_is_help=True, help="Let other systems propose saved plans.")
HookId = Annotated[str, typer.Argument(metavar="ID", help="Id of the webhook.")]
SHOWN = (
    "id",
    "name",
    "plan",
    "revision",
    "mapping",
    "inputs",
    "owner_name",
    "state",
    "old_until",
    "address",
)


@app.command("list")
def list_hooks(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 50,
    after: Annotated[str, typer.Option(help="Start after this webhook.")] = "",
) -> None:
    """List the webhooks that you have access to."""
    now = session(ctx)
    page = now.client.get("hooks", limit=limit, after=after or None)
    columns = ("id", "state", "plan", "name", "address")
    now.output.listing(page["items"], columns)


@app.command()
def show(ctx: typer.Context, hook: HookId) -> None:
    """Show a webhook with its last deliveries."""
    now = session(ctx)
    now.output.result(now.client.get(f"hooks/{segment(hook)}"), _show)


NewMapping = Annotated[
    list[str],
    typer.Option("--map", metavar="INPUT=POINTER", help="A value of the body: x=/a/b."),
]


@app.command()
def create(
    ctx: typer.Context,
    *,
    plan: Annotated[str, typer.Argument(metavar="PLAN", help="Id of a saved plan.")],
    name: Annotated[str, typer.Option("--name", help="By default the plan.")] = "",
    mapping: NewMapping = [],  # noqa: B006  typer copies it
    inputs: Inputs = [],  # noqa: B006  typer copies it
    revision: Annotated[
        int | None, typer.Option("--revision", min=1, help="Newest by default.")
    ] = None,
) -> None:
    """Create a webhook of a saved plan, and print its secret once."""
    now = session(ctx)
    body = {
        "plan": plan,
        "name": name or plan,
        "mapping": _mapping(mapping),
        "inputs": read_inputs(inputs),
        "revision": revision,
    }
    now.output.result(now.client.post("hooks", body), _show_secret)


@app.command()
def change(
    ctx: typer.Context,
    *,
    hook: HookId,
    name: Annotated[str, typer.Option("--name", help="A new name.")] = "",
    mapping: NewMapping = [],  # noqa: B006  typer copies it
    inputs: Inputs = [],  # noqa: B006  typer copies it
    unset: Annotated[
        list[str],
        typer.Option("--unset", metavar="INPUT", help="Neither map nor set it."),
    ] = [],  # noqa: B006  typer copies it
    revision: Annotated[
        int | None,
        typer.Option("--revision", min=0, help="A revision; 0 for the newest."),
    ] = None,
) -> None:
    """Change a webhook; what is left out stays as it is, and so does the secret."""
    now = session(ctx)
    path = f"hooks/{segment(hook)}"
    row = now.client.get(path)
    mapped, fixed = _mapping(mapping), read_inputs(inputs)
    # An input that was fixed may be mapped now, and the other way round.
    body = {
        "name": name or row["name"],
        "mapping": _without(row["mapping"], *unset, *fixed) | mapped,
        "inputs": _without(row["inputs"], *unset, *mapped) | fixed,
        "revision": row["revision"] if revision is None else revision or None,
        "version": row["version"],
    }
    now.output.result(now.client.post(f"{path}:change", body), _show)


@app.command()
def rotate(ctx: typer.Context, hook: HookId) -> None:
    """Make a new secret and print it once; the old one is valid for 24 hours."""
    now = session(ctx)
    made = now.client.post(f"hooks/{segment(hook)}:rotate", {})
    now.output.result(made, _show_secret)


@app.command()
def pause(ctx: typer.Context, hook: HookId) -> None:
    """Pause a webhook: deliveries are refused."""
    _act(ctx, hook, "pause")


@app.command()
def resume(ctx: typer.Context, hook: HookId) -> None:
    """Resume a paused webhook."""
    _act(ctx, hook, "resume")


@app.command()
def delete(ctx: typer.Context, hook: HookId) -> None:
    """Delete a webhook."""
    _act(ctx, hook, "delete")


def _mapping(pairs: list[str]) -> dict[str, str]:
    mapping: dict[str, str] = {}
    for pair in pairs:
        name, sign, pointer = pair.partition("=")
        if not sign or not name or name in mapping:
            detail = f"Invalid --map {pair!r}. Write it once for each input: name=/a/b."
            raise UsageProblem("cli.map_malformed", detail)
        mapping[name] = pointer
    return mapping


def _without(values: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name not in names}


def _act(ctx: typer.Context, hook: str, act: str) -> None:
    now = session(ctx)
    now.output.result(now.client.post(f"hooks/{segment(hook)}:{act}", {}), _show)


def _show(output: Output, row: dict[str, Any]) -> None:
    output.fields((name, row[name]) for name in SHOWN)
    keys = ("at", "webhook_id", "outcome", "run_id", "code")
    if row["deliveries"]:
        cells = ([each[key] for key in keys] for each in row["deliveries"])
        output.table(("at", "webhook-id", "outcome", "run", "code"), cells)
    output.line(row["url"])


def _show_secret(output: Output, made: dict[str, Any]) -> None:
    _show(output, made["hook"])
    output.line("secret, shown once:")
    output.line(made["secret"])
