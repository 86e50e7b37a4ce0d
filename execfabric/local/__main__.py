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
from pathlib import Path
from urllib.parse import urlsplit

from execfabric.lib import space
from execfabric.local import (
    commands,
    endpoints,
    installation,
    leftovers,
    ports,
    processes,
)
from execfabric.local.endpoints import Endpoints
from execfabric.local.errors import AlreadyUp, StartFailed
from execfabric.local.installation import Audience, Wanted
from execfabric.local.layout import PROJECT, DataDir, data_dir
from execfabric.local.leftovers import Hold
from execfabric.local.processes import Identity

LONGEST_STOP = 120.0
"""Seconds; more than the graces of all parts together."""
LONGEST_COMMAND = 60.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks; return the exit code."""
    asked = _parser().parse_args(arguments)
    try:
        return _do(asked)
    except StartFailed as error:
        _say(str(error))
    except OSError as error:
        if error.filename is None:
            raise
        _say(f"The data directory cannot be used: {error}")
    return 1


def _do(asked: argparse.Namespace) -> int:
    data = data_dir()
    if asked.command == "down":
        return down(data)
    if asked.command == "status":
        return status(data)
    demo = _demo_by_default() if asked.demo is None else asked.demo
    port = ports.number(asked.port) if asked.port else None
    wanted = Wanted(demo=demo, port=port)
    if asked.foreground:
        return foreground(data, wanted, quiet=asked.quiet)
    return up(data, wanted)


def up(data: DataDir, wanted: Wanted) -> int:
    """Start the installation in the background; return when it is ready."""
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
        # Whoever cannot wait goes; the supervisor finishes its stop all the same.
        with contextlib.suppress(KeyboardInterrupt):
            supervisor.wait()
        return 130
    # It lets go of its output when it is up, or when it has ended.
    with contextlib.suppress(subprocess.TimeoutExpired):
        return supervisor.wait(0.5)
    return 0


def foreground(data: DataDir, wanted: Wanted, *, quiet: bool = False) -> int:
    """Run the installation here until it is stopped."""

    def announce(found: Endpoints) -> None:
        _say(f"\nExecFabric is up: {found.url}")
        _say_more(data, found)
        if quiet:
            _let_go_of_output(data.log)

    def point_out(found: Endpoints) -> int:
        _say(f"\nExecFabric is already up: {found.url}")
        _say_more(data, found)
        if wanted.port in {None, urlsplit(found.url).port}:
            return 0
        _say(f"To have it on port {wanted.port}, stop it first.")
        return 1

    audience = Audience(
        say=_say, up=announce, already=point_out, sees_journal=not quiet
    )
    return installation.serve(data, wanted, audience)


def down(data: DataDir) -> int:
    """Stop the installation and what is left of earlier ones."""
    supervisor = _supervisor(data)
    if supervisor is None:
        ended = _end_leftovers(data)
        _say(f"Ended: {', '.join(ended)}." if ended else "Nothing is running.")
        return 0
    _say("Stopping ...")
    with contextlib.suppress(ProcessLookupError):
        os.kill(supervisor.pid, signal.SIGTERM)
    until = time.monotonic() + LONGEST_STOP
    while processes.alive(supervisor) and time.monotonic() < until:
        time.sleep(0.1)
    processes.kill_family(supervisor)
    _end_leftovers(data)
    _say("Stopped.")
    return 0


def _end_leftovers(data: DataDir) -> list[str]:
    """End what has no supervisor any more; return the names."""
    if not data.run.is_dir():
        return []
    try:
        hold = Hold(data)
    except AlreadyUp:
        # The next start has begun; it ends them itself.
        return []
    try:
        return leftovers.end_all(data)
    finally:
        hold.release()


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
    if short := space.shortage([data.root], space.least_free()):
        _say(f"  {short} No new work starts; free some space.")
    for name, part in leftovers.read(data).items():
        state = part.state if processes.alive(part.identity) else "not running"
        times = f", restarted {part.restarts} times" if part.restarts else ""
        _say(f"  {name:<10} pid {part.pid:<8} {state}{times}")
    return 0


def _say_more(data: DataDir, found: Endpoints) -> None:
    """What a newcomer needs to know besides the address."""
    logins = data.run / "demo.json"
    if found.demo and logins.exists():
        _say("Demo logins:")
        for login in json.loads(logins.read_text(encoding="utf-8")):
            name, word, role = (login[key] for key in ("username", "password", "role"))
            _say(f"  {role:<10} {name:<18} {word}")
    if not found.demo:
        _say_first_admin(data, found)
    _say(f"Log: {data.log}")
    _say("Stop with `make down`.")


def _say_first_admin(data: DataDir, found: Endpoints) -> None:
    """Show the one-time link of the first admin, on the terminal and not in the log."""
    try:
        done = subprocess.run(
            commands.manage("first_admin_link", "--skip-checks"),
            cwd=PROJECT,
            env=installation.environment(data, found, demo=False),
            capture_output=True,
            text=True,
            timeout=LONGEST_COMMAND,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        _say(f"Cannot create the link for the first admin: {error}.")
        _say("Retry with `.venv/bin/python manage.py first_admin_link`.")
        return
    if link := done.stdout.strip():
        _say("No admin can sign in yet. Create one with this link (1 hour, once):")
        _say(f"  {link}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m execfabric.local")
    commands = parser.add_subparsers(dest="command", required=True)
    starting = commands.add_parser("up", help="start everything")
    starting.add_argument("--foreground", action="store_true", help="stay and show")
    starting.add_argument("--quiet", action="store_true", help=argparse.SUPPRESS)
    starting.add_argument("--demo", action=argparse.BooleanOptionalAction)
    port = os.environ.get("PORT", "")
    starting.add_argument("--port", default=port, help="exactly this port")
    commands.add_parser("down", help="stop everything")
    commands.add_parser("status", help="say what runs")
    return parser


def _demo_by_default() -> bool:
    production = os.environ.get("EXECFABRIC_ENV") == "production"
    told = os.environ.get("EXECFABRIC_DEMO") or ("false" if production else "true")
    if told not in {"true", "false"}:
        raise StartFailed(f"EXECFABRIC_DEMO must be true or false, not {told!r}.")
    return told == "true"


def _say(text: str) -> None:
    # Whoever started us may have gone away; that is no reason to stop.
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def _let_go_of_output(log: Path) -> None:
    """Whoever started us goes on; from here on even a crash of ours goes to the log."""
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
    handle = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    os.close(handle)


if __name__ == "__main__":
    sys.exit(main())
