"""`execfabric trace`: verify the audit log."""

import sys
import time
from typing import Annotated, Any

import typer

from execfabric.cli.client import Client, CommandFailed, Exit
from execfabric.cli.output import Output
from execfabric.cli.session import segment, session

app = typer.Typer(no_args_is_help=True, help="Verify the audit log.")

POLL_SECONDS = 1.0
TOO_LONG = "trace.too_long"


@app.callback()
def root() -> None:
    """Keep `verify` a subcommand although it is the only one."""


@app.command()
def verify(
    ctx: typer.Context,
    run_id: Annotated[
        str, typer.Argument(help="Id of the run; the whole audit log if left out.")
    ] = "",
) -> None:
    """Verify the events of a run, or all events. Exit 1 if anything differs."""
    now = session(ctx)
    if run_id:
        try:
            result = now.client.get(f"runs/{segment(run_id)}/trace:verify")
        except CommandFailed as error:
            if error.problem.get("code") != TOO_LONG:
                raise
            result = _job(now.client, f"run:{run_id}", now.output)
    else:
        result = _job(now.client, "", now.output)
    now.output.result(result, _show)
    raise typer.Exit(Exit.OK if result["verified"] else Exit.FAILED)


def _job(client: Client, stream: str, output: Output) -> dict[str, Any]:
    """Start a verification and wait until it is finished."""
    job: dict[str, Any] = client.post("trace:verify", {"stream": stream})
    while job["state"] in {"queued", "running"}:
        if not output.as_json and sys.stderr.isatty():
            print(f"\r{job['done']} of {job['total']} streams", end="", file=sys.stderr)
        time.sleep(POLL_SECONDS)
        job = client.get(f"trace/verifications/{job['id']}")
    return job


def _show(output: Output, result: dict[str, Any]) -> None:
    name = result["stream"] or "the whole audit log"
    broken = [result["broken"]] if isinstance(result.get("broken"), dict) else []
    findings = result.get("findings", [*broken, *result.get("differences", [])])
    for item in findings:
        stream = item.get("stream", name)
        if "seq" in item:
            output.line("BROKEN", stream, f"at seq {item['seq']}:", item["reason"])
            output.fields([("expected", item["expected"]), ("found", item["found"])])
        else:
            where = f"{item['table']}.{item['column']} of {item['key']}"
            output.line("DIFFERS", stream, where)
            output.fields([("recorded", item["recorded"]), ("found", item["found"])])
    if result["verified"]:
        head = f", head {result['head']}" if "head" in result else ""
        steps = result["outputs"]
        outputs = f", outputs and files of {steps} steps" if steps else ""
        output.line("ok", name, f"{result['events']} events{outputs}{head}")
    elif error := result.get("error"):
        output.line("FAILED", name, error)
