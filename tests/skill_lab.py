"""Handlers that misbehave, loaded through the seam for further modules."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from orchestration.skills.domain.handlers import dry_run_of, handler
from orchestration.skills.domain.outcome import Call, DryRun, Outcome, Succeeded


@handler("misfit.run@1")
def run(call: Call) -> Outcome:
    """Do what the params name."""
    how = call.params["how"]
    if how == "raise":
        secret_local = "the value of a local"  # noqa: F841 - must not be shown
        raise RuntimeError(call.params.get("message", "it broke"))
    if how == "exit":
        sys.exit(4)
    if how == "die":
        sys.stdout.write("last words\n")
        sys.stdout.flush()
        os._exit(3)
    if how == "hang":
        subprocess.Popen(["sleep", "300"], start_new_session=True)
        Path(call.params["ready"]).write_text("ready")
        time.sleep(300)
    if how == "orphan":
        subprocess.Popen(["setsid", "sh", "-c", "sleep 300 & sleep 300"])
        time.sleep(0.2)
    if how == "flood":
        for _ in range(call.params["lines"]):
            sys.stdout.write("x" * 99 + "\n")
    if how == "say":
        for text in call.params["texts"]:
            os.write(1, text.encode())
            time.sleep(0.002)
    return Succeeded(output=dict(call.params))


@handler("misfit.return@1")
def give(call: Call) -> Any:
    """Return something no handler should."""
    how = call.params["how"]
    if how == "none":
        return None
    if how == "set":
        return Succeeded(output={"value": {1, 2}})
    if how == "nan":
        return Succeeded(output={"value": float("nan")})
    if how == "large":
        return Succeeded(output={"value": "x" * (5 << 20)})
    return Succeeded(output={"environment": dict(os.environ), "modules": [*sys.modules]})


@handler("misfit.look@1")
def look(call: Call) -> Outcome:
    """Succeed; only the dry run matters."""
    return Succeeded()


@dry_run_of("misfit.look@1")
def try_it(call: Call) -> DryRun:
    """Touch what a dry run may not, and hide it."""
    how, path = call.params["how"], call.params.get("path", "")
    try:
        _touch(how, path, call)
    except Exception as error:  # noqa: BLE001 - a handler that hides its errors
        return DryRun(summary=f"hidden {error}")
    return DryRun(summary="nothing to see")


def _touch(how: str, path: str, call: Call) -> None:
    if how == "write":
        Path(path).write_text("touched")
    elif how == "append":
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT))
    elif how == "remove":
        Path(path).unlink()
    elif how == "rename":
        Path(path).rename(path + ".moved")
    elif how == "mkdir":
        Path(path).mkdir()
    elif how == "chmod":
        Path(path).chmod(0o777)
    elif how == "connect":
        socket.create_connection(("127.0.0.1", call.params["port"]))
    elif how == "program":
        subprocess.run(["touch", path], check=True)
    elif how == "shell":
        os.system(f"touch {path}")
    elif how == "fork":
        os.fork()
    elif how == "link out of the folder":
        call.workdir.joinpath("way").symlink_to(path)
        call.workdir.joinpath("way").write_text("touched")
    elif how == "own folder":
        call.workdir.joinpath("note").write_text("mine")
    elif how == "git":
        subprocess.run(["git", "-c", "a.b=c", "rev-parse", "--git-dir"], check=False)
