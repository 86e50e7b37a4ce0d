"""`execfabric artifact`: list, show, archive and fork artifacts."""

from typing import Annotated, Any

import typer

from execfabric.cli.output import Output
from execfabric.cli.session import segment, session

app = typer.Typer(no_args_is_help=True, help="Find artifacts and their versions.")
ArtifactId = Annotated[str, typer.Argument(metavar="ID", help="Id of the artifact.")]
VersionId = Annotated[
    str, typer.Option("--version", help="Id of a version; by default the one in use.")
]
COLUMNS = ("id", "current", "state", "plan", "changed", "name")
KEYS = ("id", "current", "state", "plan", "changed_at", "name")
VERSION = ("id", "number", "state", "file", "sha256", "run_id", "step", "attempt")


@app.command("list")
def list_artifacts(
    ctx: typer.Context,
    text: Annotated[
        str, typer.Argument(metavar="[TEXT]", help="Words of the name.")
    ] = "",
    plan: Annotated[str, typer.Option("--plan", help="Only those of a plan.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=200)] = 50,
    after: Annotated[str, typer.Option(help="Start after this artifact.")] = "",
) -> None:
    """List artifacts, newest first."""
    now = session(ctx)
    page = now.client.get(
        "artifacts", q=text, plan=plan, limit=limit, after=after or None
    )
    now.output.listing(page["items"], COLUMNS, KEYS)


@app.command()
def show(ctx: typer.Context, artifact: ArtifactId, version: VersionId = "") -> None:
    """Show an artifact with its versions, and where one of them comes from."""
    now = session(ctx)
    row = now.client.get(f"artifacts/{segment(artifact)}", version=version or None)
    now.output.result(row, _show)


@app.command()
def archive(
    ctx: typer.Context,
    artifact: ArtifactId,
    reason: Annotated[str, typer.Option("--reason", help="For the audit log.")],
    version: VersionId = "",
) -> None:
    """Take a version out of use. Nothing is deleted."""
    now = session(ctx)
    body = {"reason": reason, "version": version or None}
    row = now.client.post(f"artifacts/{segment(artifact)}:archive", body)
    now.output.result(row, _show_version)


@app.command()
def fork(
    ctx: typer.Context,
    artifact: ArtifactId,
    name: Annotated[str, typer.Option("--name", help="Name of the new artifact.")],
    plan: Annotated[str, typer.Option("--plan", help="By default the same.")] = "",
    version: VersionId = "",
) -> None:
    """Begin another artifact with a version, which does not change."""
    now = session(ctx)
    body = {"name": name, "plan": plan, "version": version or None}
    row = now.client.post(f"artifacts/{segment(artifact)}:fork", body)
    now.output.result(row, _show)


def _show(output: Output, row: dict[str, Any]) -> None:
    output.fields((name, row[name]) for name in ("id", "name", "plan"))
    columns = ("version", "number", "state", "file", "supersedes", "run")
    keys = ("id", "number", "state", "file", "supersedes", "run_id")
    cells = ([version[key] for key in keys] for version in row["versions"])
    output.table(columns, cells)
    if row["more"]:
        output.line(f"only the newest {len(row['versions'])} versions are listed")
    for source in row["lineage"]["sources"]:
        output.line("made from", source["artifact"] or "", source["file"])
    for made in row["lineage"]["made"]:
        output.line("used for", made["artifact"], made["number"] or made["state"])
    if row["lineage"]["more"]:
        output.line("more sources or uses are not listed")
    output.line(row["url"])


def _show_version(output: Output, row: dict[str, Any]) -> None:
    output.fields((name, row[name]) for name in VERSION)
    output.fields([("reason", row["archive_reason"])])
