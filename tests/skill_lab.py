"""Handlers that misbehave, loaded through the seam for further modules."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestration.skills.domain.handlers import dry_run_of, handler
from orchestration.skills.domain.outcome import Call, DryRunResult, Outcome, Succeeded


def _raise(call: Call) -> None:
    secret_local = "the value of a local"  # noqa: F841 - must not be shown
    raise RuntimeError(call.params.get("message", "it broke"))


def _die(call: Call) -> None:
    sys.stdout.write("last words\n")
    sys.stdout.flush()
    os._exit(3)


def _hang(call: Call) -> None:
    subprocess.Popen(["sleep", "300"], start_new_session=True)
    Path(call.params["ready"]).write_text("ready")
    time.sleep(300)


def _orphan(call: Call) -> None:
    subprocess.Popen(["setsid", "sh", "-c", "sleep 300 & sleep 300"])
    time.sleep(0.2)


def _flood(call: Call) -> None:
    for _ in range(call.params["lines"]):
        sys.stdout.write("x" * 99 + "\n")


def _say(call: Call) -> None:
    for text in call.params["texts"]:
        os.write(1, text.encode())
        time.sleep(0.002)


DEEDS: dict[str, Callable[[Call], None]] = {
    "die": _die,
    "exit": lambda call: sys.exit(4),
    "flood": _flood,
    "hang": _hang,
    "orphan": _orphan,
    "raise": _raise,
    "say": _say,
}


@handler("misfit.run@1")
def run(call: Call) -> Outcome:
    """Do what the params name."""
    DEEDS[call.params["how"]](call)
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
    return Succeeded(
        output={"environment": dict(os.environ), "modules": [*sys.modules]}
    )


@handler("misfit.look@1")
def look(call: Call) -> Outcome:
    """Succeed; only the dry run matters."""
    return Succeeded()


@dry_run_of("misfit.look@1")
def try_it(call: Call) -> DryRunResult:
    """Touch what a dry run may not, and hide it."""
    how, path = call.params["how"], call.params.get("path", "")
    try:
        TOUCHES[how](path, call)
    except Exception as error:  # noqa: BLE001 - a handler that hides its errors
        return DryRunResult(summary=f"hidden {error}")
    return DryRunResult(summary="nothing to see")


def _link_out(path: str, call: Call) -> None:
    call.workdir.joinpath("way").symlink_to(path)
    call.workdir.joinpath("way").write_text("touched")


def _append(path: str, call: Call) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT))


TOUCHES: dict[str, Callable[[str, Call], Any]] = {
    "append": _append,
    "chmod": lambda path, call: Path(path).chmod(0o777),
    "connect": lambda path, call: socket.create_connection(
        ("127.0.0.1", call.params["port"])
    ),
    "fork": lambda path, call: os.fork(),
    "git": lambda path, call: subprocess.run(
        ["git", "-c", "a.b=c", "rev-parse", "--git-dir"], check=False
    ),
    "link out of the folder": _link_out,
    "mkdir": lambda path, call: Path(path).mkdir(),
    "own folder": lambda path, call: call.workdir.joinpath("note").write_text("mine"),
    "program": lambda path, call: subprocess.run(["touch", path], check=True),
    "remove": lambda path, call: Path(path).unlink(),
    "rename": lambda path, call: Path(path).rename(path + ".moved"),
    "shell": lambda path, call: os.system(f"touch {path}"),
    "write": lambda path, call: Path(path).write_text("touched"),
}


def _memory(call: Call) -> None:
    call.log(str(len("x" * (call.params["mb"] << 20))))


def _processor(call: Call) -> None:
    while True:
        pass


def _programs(call: Call) -> None:
    started = [subprocess.Popen(["sleep", "30"]) for _ in range(call.params["count"])]
    started[0].wait()


def _one_file(call: Call) -> None:
    with (call.workdir / "big").open("wb") as out:
        for _ in range(call.params["mb"]):
            out.write(bytes(1 << 20))


def _many_files(call: Call) -> None:
    for number in range(call.params["count"]):
        (call.workdir / str(number)).write_bytes(bytes(1 << 20))
    time.sleep(30)


DEEDS |= {
    "many files": _many_files,
    "memory": _memory,
    "one file": _one_file,
    "processor": _processor,
    "programs": _programs,
}
