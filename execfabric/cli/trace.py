"""`execfabric trace`: whether the record is what was written."""

import sys
import time
from typing import Annotated, Any

import typer

from execfabric.cli.client import Client, Exit, Failed
from execfabric.cli.output import Output
from execfabric.cli.session import segment, session

app = typer.Typer(no_args_is_help=True, help="Check the record.")

POLL_SECONDS = 1.0
TOO_LONG = "trace.too_long"


@app.callback()
def root() -> None:
    """Check the record."""


@app.command()
def verify(
    ctx: typer.Context,
    run_id: Annotated[
        str, typer.Argument(help="A run; the whole record if left out")
    ] = "",
) -> None:
    """Verify the record of a run, or all of it. Exit 1 names what is broken."""
    now = session(ctx)
    if run_id:
        try:
            found = now.client.get(f"runs/{segment(run_id)}/trace:verify")
        except Failed as error:
            if error.problem.get("code") != TOO_LONG:
                raise
            found = _job(now.client, f"run:{run_id}", now.output)
    else:
        found = _job(now.client, "", now.output)
    if now.output.as_json:
        now.output.document(found)
    else:
        _say(found, now.output)
    raise typer.Exit(Exit.OK if found["verified"] else Exit.FAILED)


def _job(client: Client, stream: str, output: Output) -> dict[str, Any]:
    """Start a verification and wait for its end, with its progress on a terminal."""
    job: dict[str, Any] = client.post("trace:verify", {"stream": stream})
    while job["state"] in {"queued", "running"}:
        if not output.as_json and sys.stderr.isatty():
            print(f"\r{job['done']} of {job['total']} streams", end="", file=sys.stderr)
        time.sleep(POLL_SECONDS)
        job = client.get(f"trace/verifications/{job['id']}")
    return job


def _say(found: dict[str, Any], output: Output) -> None:
    name = found["stream"] or "the whole record"
    broken = [found["broken"]] if isinstance(found.get("broken"), dict) else []
    findings = found.get("findings", [*broken, *found.get("differences", [])])
    for item in findings:
        stream = item.get("stream", name)
        if "seq" in item:
            output.line("BROKEN", stream, f"at seq {item['seq']}:", item["reason"])
            output.fields([("expected", item["expected"]), ("found", item["found"])])
        else:
            where = f"{item['table']}.{item['column']} of {item['key']}"
            output.line("DIFFERS", stream, where)
            output.fields([("recorded", item["recorded"]), ("found", item["found"])])
    if found["verified"]:
        head = f", head {found['head']}" if "head" in found else ""
        outputs = (
            f", outputs and files of {found['outputs']} steps"
            if found["outputs"]
            else ""
        )
        output.line("ok", name, f"{found['events']} events{outputs}{head}")
    elif error := found.get("error"):
        output.line("FAILED", name, error)
