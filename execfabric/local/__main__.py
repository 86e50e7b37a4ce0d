"""`python -m execfabric.local up | down | status`, called by the Makefile."""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import deque
from urllib.parse import urlsplit

import psutil  # type: ignore[import-untyped]

from execfabric.lib import space
from execfabric.local import commands, endpoints, installation, ports, processes
from execfabric.local import supervisor as supervision
from execfabric.local.endpoints import Endpoints
from execfabric.local.layout import PROJECT, DataDir, StartFailed, data_dir, reason
from execfabric.local.service import ServiceFailed
from execfabric.local.supervisor import Stopped, Supervisor

LONGEST_STOP = 120.0
"""Seconds to wait for the stop; more than all grace periods together."""
LARGEST_LOG = 20 * 1024 * 1024
"""Bytes above which the log is renamed at the next start."""


def main() -> int:
    """Run the command and return its exit code."""
    parsed = _parser().parse_args()
    data = data_dir()
    try:
        if parsed.command == "down":
            return down(data)
        if parsed.command == "status":
            return show_status(data)
        if not parsed.supervise:
            return up()
        port = ports.number(parsed.port) if parsed.port else None
        demo = _demo_by_default() if parsed.demo is None else parsed.demo
        return supervise(data, demo=demo, port=port)
    except StartFailed as error:
        _print(str(error))
    except OSError as error:
        if error.filename is None:
            raise
        _print(str(data.unusable(reason(error))))
    return 1


def up() -> int:
    """Start a supervisor in the background; return when everything is ready."""
    supervisor = subprocess.Popen(
        [sys.executable, "-m", "execfabric.local", *sys.argv[1:], "--supervise"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        for line in supervisor.stdout or ():
            _print(line.rstrip("\n"))
    except KeyboardInterrupt:
        _print("Stopping ...")
        supervisor.send_signal(signal.SIGTERM)
        # After a second Ctrl-C the supervisor still finishes its stop.
        with contextlib.suppress(KeyboardInterrupt):
            supervisor.wait()
        return 130
    # It closes its output when it is up, or when it has ended.
    with contextlib.suppress(subprocess.TimeoutExpired):
        return supervisor.wait(0.5)
    return 0


def supervise(data: DataDir, *, demo: bool, port: int | None) -> int:
    """Run the installation in this process until it is stopped."""
    data.prepare()
    lock = data.lock()
    if lock is None:
        return _already_running(data, port)
    if data.log.exists() and data.log.stat().st_size > LARGEST_LOG:
        data.log.replace(data.log.with_suffix(".log.1"))
    with data.log.open("ab", buffering=0) as log, os.fdopen(lock):
        data.log.chmod(0o600)
        return _supervise_locked(data, Supervisor(data, log), demo=demo, port=port)


def _supervise_locked(
    data: DataDir, supervisor: Supervisor, *, demo: bool, port: int | None
) -> int:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: supervisor.request_stop())
    try:
        if ended := supervision.end_orphans(data):
            _print(f"Ended orphans of an earlier start: {', '.join(ended)}.")
        supervisor.save_status()
        addresses = installation.start(
            data, supervisor, demo=demo, port=port, report=_print
        )
        endpoints.save(data.root, addresses)
        supervisor.save_status(supervision.UP)
        _print(f"\nExecFabric is up: {addresses.url}")
        _print_details(data, addresses)
        # From here the output goes to the log, and the waiting `up` returns.
        for output in (1, 2):
            os.dup2(supervisor.log_file.fileno(), output)
        supervisor.watch()
    except Stopped:
        _print("Stopped before everything was up.")
        return 1
    except StartFailed as error:
        if isinstance(error, ServiceFailed):
            with data.log.open(encoding="utf-8", errors="replace") as lines:
                _print("".join(deque(lines, maxlen=25)).rstrip("\n"))
        _print(str(error))
        supervisor.log(str(error))
        return 1
    finally:
        endpoints.remove(data.root)
        supervisor.stop()
        supervision.end_orphans(data)
        supervisor.log("Everything is stopped.")
    return 0


def _already_running(data: DataDir, port: int | None) -> int:
    addresses = endpoints.load(data.root)
    state = supervision.read_status(data).get(supervision.NAME, {}).get("state")
    if addresses is None or state != supervision.UP:
        message = (
            f"Cannot start ExecFabric on {data.root}: it is {state or 'starting'}."
        )
        raise StartFailed(f"{message} Wait for it, or stop it with `make down`.")
    _print(f"\nExecFabric is already up: {addresses.url}")
    _print_details(data, addresses)
    if port in {None, urlsplit(addresses.url).port}:
        return 0
    _print(f"To use port {port}, stop it first.")
    return 1


def down(data: DataDir) -> int:
    """Stop the installation, and orphans of earlier ones."""
    supervisor = _running_supervisor(data)
    if supervisor:
        _print("Stopping ...")
        with contextlib.suppress(psutil.NoSuchProcess):
            supervisor.terminate()
        psutil.wait_procs([supervisor], timeout=LONGEST_STOP)
        processes.kill_family(supervisor.pid)
    ended = []
    if data.run.is_dir():
        lock = data.lock()
        if lock is None:
            raise StartFailed("Cannot stop: another start has just begun. Try again.")
        with os.fdopen(lock):
            ended = supervision.end_orphans(data)
    if supervisor:
        _print("Stopped.")
    else:
        _print(f"Ended: {', '.join(ended)}." if ended else "Nothing is running.")
    return 0


def show_status(data: DataDir) -> int:
    """Print what is running; return 0 if the installation is up, else 3."""
    if _running_supervisor(data) is None:
        _print(f"ExecFabric on {data.root} is not running. Start it with `make up`.")
        return 3
    addresses = endpoints.load(data.root)
    _print(f"ExecFabric on {data.root}: {addresses.url if addresses else 'starting'}")
    if shortage := space.shortage([data.root], space.least_free()):
        _print(f"  {shortage} No new work starts. Free some space.")
    for name, row in supervision.read_status(data).items():
        state = row["state"] if supervision.process_of(row) else "not running"
        restarts = row.get("restarts")
        times = f", restarted {restarts} times" if restarts else ""
        _print(f"  {name:<10} pid {row['pid']:<8} {state}{times}")
    return 0


def _running_supervisor(data: DataDir) -> psutil.Process | None:
    row = supervision.read_status(data).get(supervision.NAME)
    return supervision.process_of(row) if row else None


def _print_details(data: DataDir, addresses: Endpoints) -> None:
    logins = data.run / "demo.json"
    if addresses.demo and logins.exists():
        _print("Demo logins:")
        for login in json.loads(logins.read_text(encoding="utf-8")):
            name, password = login["username"], login["password"]
            _print(f"  {login['role']:<10} {name:<18} {password}")
    if not addresses.demo:
        _print_first_admin_link(data, addresses)
    _print(f"Log: {data.log}")
    _print("Stop with `make down`.")


def _print_first_admin_link(data: DataDir, addresses: Endpoints) -> None:
    # On the terminal only: the log must not contain it.
    try:
        done = subprocess.run(
            commands.manage("first_admin_link", "--skip-checks"),
            cwd=PROJECT,
            env=installation.environment(data, addresses, demo=False),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        _print(f"Cannot create the link for the first admin: {error}.")
        _print("Retry with `.venv/bin/python manage.py first_admin_link`.")
        return
    if link := done.stdout.strip():
        _print("No admin can sign in yet. Create one with this link (1 hour, once):")
        _print(f"  {link}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m execfabric.local")
    subparsers = parser.add_subparsers(dest="command", required=True)
    start = subparsers.add_parser("up", help="start everything")
    start.add_argument("--supervise", action="store_true", help=argparse.SUPPRESS)
    start.add_argument("--demo", action=argparse.BooleanOptionalAction)
    start.add_argument("--port", default=os.environ.get("PORT", ""))
    subparsers.add_parser("down", help="stop everything")
    subparsers.add_parser("status", help="show what is running")
    return parser


def _demo_by_default() -> bool:
    production = os.environ.get("EXECFABRIC_ENV") == "production"
    value = os.environ.get("EXECFABRIC_DEMO") or ("false" if production else "true")
    if value not in {"true", "false"}:
        message = f"Invalid EXECFABRIC_DEMO {value!r}: it must be true or false."
        raise StartFailed(message)
    return value == "true"


def _print(text: str) -> None:
    # The program that started us may have ended; that is no reason to stop.
    with contextlib.suppress(OSError):
        print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
