"""`python -m execfabric.local up | down | status`: what `make up` and `make down` call."""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from execfabric.local import endpoints, installation, leftovers, processes
from execfabric.local.endpoints import Endpoints
from execfabric.local.errors import StartFailed
from execfabric.local.installation import Audience, Wanted
from execfabric.local.layout import PROJECT, DataDir, data_dir
from execfabric.local.processes import Identity

LONGEST_STOP = 90.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks; return the exit code."""
    asked = _parser().parse_args(arguments)
    data = data_dir()
    if asked.command == "down":
        return down(data)
    if asked.command == "status":
        return status(data)
    wanted = Wanted(demo=asked.demo, port=asked.port)
    if asked.foreground:
        return foreground(data, wanted, quiet=asked.quiet)
    return up(data, wanted)


def up(data: DataDir, wanted: Wanted) -> int:
    """Start the installation in the background; return when it is ready."""
    try:
        data.prepare()
    except StartFailed as error:
        _say(str(error))
        return 1
    if leftovers.is_held(data):
        _say(installation.already_up(data))
        return 0
    command = [
        sys.executable,
        "-m",
        "execfabric.local",
        "up",
        "--foreground",
        "--quiet",
    ]
    command.append("--demo" if wanted.demo else "--no-demo")
    if wanted.port is not None:
        command += ["--port", str(wanted.port)]
    supervisor = subprocess.Popen(
        command,
        cwd=PROJECT,
        env=os.environ | {"EXECFABRIC_DATA_DIR": str(data.root)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        for line in supervisor.stdout or ():
            _say(line.rstrip("\n"))
    except KeyboardInterrupt:
        _say("Stopping ...")
        supervisor.send_signal(signal.SIGTERM)
        supervisor.wait()
        return 130
    # It lets go of its output when it is up, or when it has ended.
    with contextlib.suppress(subprocess.TimeoutExpired):
        return supervisor.wait(0.5)
    return 0


def foreground(data: DataDir, wanted: Wanted, *, quiet: bool = False) -> int:
    """Run the installation here until it is stopped."""

    def announce(found: Endpoints) -> None:
        for line in welcome(data, found, demo=wanted.demo):
            _say(line)
        if quiet:
            _let_go_of_output()

    audience = Audience(say=_say, up=announce, sees_journal=not quiet)
    return installation.serve(data, wanted, audience)


def down(data: DataDir) -> int:
    """Stop the installation and what is left of earlier ones."""
    supervisor = _supervisor(data)
    if supervisor is None:
        ended = leftovers.end_all(data) if data.run.is_dir() else []
        _say(f"Ended: {', '.join(ended)}." if ended else "Nothing is running.")
        return 0
    _say("Stopping ...")
    with contextlib.suppress(ProcessLookupError):
        os.kill(supervisor.pid, signal.SIGTERM)
    until = time.monotonic() + LONGEST_STOP
    while processes.alive(supervisor) and time.monotonic() < until:
        time.sleep(0.1)
    processes.kill_family(supervisor)
    leftovers.end_all(data)
    _say("Stopped.")
    return 0


def _supervisor(data: DataDir) -> Identity | None:
    """The supervisor; one that has only just begun has not written itself down yet."""
    until = time.monotonic() + 5
    while (found := leftovers.supervisor(data)) is None:
        held = data.run.is_dir() and leftovers.is_held(data)
        if not held or time.monotonic() > until:
            return None
        time.sleep(0.1)
    return found


def status(data: DataDir) -> int:
    """Say what runs; 0 when the installation is up, 3 when it is not."""
    found = endpoints.load(data.root)
    if leftovers.supervisor(data) is None:
        _say(f"Nothing runs on {data.root}.")
        return 3
    _say(f"ExecFabric on {data.root}: {found.url if found else 'starting'}")
    for name, part in leftovers.read(data).items():
        times = f", restarted {part.restarts} times" if part.restarts else ""
        _say(f"  {name:<10} pid {part.pid:<8} {part.state}{times}")
    return 0


def welcome(data: DataDir, found: Endpoints, *, demo: bool) -> list[str]:
    """What a newcomer needs to know now."""
    lines = ["", f"ExecFabric is up: {found.url}"]
    logins = data.run / "demo.json"
    if demo and logins.exists():
        lines.append("Demo logins:")
        for login in json.loads(logins.read_text(encoding="utf-8")):
            name, word, role = (login[key] for key in ("username", "password", "role"))
            lines.append(f"  {role:<10} {name:<18} {word}")
    return [*lines, f"Log: {data.log}", "Stop with `make down`."]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m execfabric.local")
    commands = parser.add_subparsers(dest="command", required=True)
    starting = commands.add_parser("up", help="start everything")
    starting.add_argument("--foreground", action="store_true", help="stay and show")
    starting.add_argument("--quiet", action="store_true", help=argparse.SUPPRESS)
    starting.add_argument(
        "--demo", action=argparse.BooleanOptionalAction, default=_demo_by_default()
    )
    port = os.environ.get("PORT") or None
    starting.add_argument("--port", type=int, default=port, help="exactly this port")
    commands.add_parser("down", help="stop everything")
    commands.add_parser("status", help="say what runs")
    return parser


def _demo_by_default() -> bool:
    production = os.environ.get("EXECFABRIC_ENV") == "production"
    return (
        os.environ.get("EXECFABRIC_DEMO", "false" if production else "true") == "true"
    )


def _say(text: str) -> None:
    # Whoever started us may have gone away; that is no reason to stop.
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def _let_go_of_output() -> None:
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)


if __name__ == "__main__":
    sys.exit(main())
