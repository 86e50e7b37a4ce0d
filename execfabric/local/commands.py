"""The command lines of the product's own services."""

import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path

from execfabric.local.layout import PROJECT, StartFailed
from execfabric.local.ports import HOST
from execfabric.local.service import Service, ServiceProcess

LISTENS = "Uvicorn running on "
LONGEST_STEP_AT_STOP = 20.0
"""Seconds a worker has to finish its steps after the stop signal."""


def manage(*arguments: str) -> list[str]:
    """Return the command line of a management command."""
    return [sys.executable, str(PROJECT / "manage.py"), *arguments]


def prepare(*, demo: bool) -> list[str]:
    """Return the command that prepares the database; it needs the owner's rights."""
    command = [sys.executable, "-m", "execfabric.local.prepare"]
    return [*command, "--demo"] if demo else command


def web_command(port: int) -> list[str]:
    """Return the command of the web server; it trusts no proxy, as there is none."""
    command = [sys.executable, "-m", "uvicorn", "execfabric.asgi:application"]
    command += ["--host", HOST, "--port", str(port), "--no-proxy-headers"]
    command += ["--http", "execfabric.web.protocol:TimedProtocol"]
    command += ["--limit-concurrency", "2000"]
    # Without a limit an open websocket would delay the stop forever.
    return [*command, "--timeout-graceful-shutdown", "5", "--no-server-header"]


def worker_command(*, concurrency: int, name: str = "worker") -> list[str]:
    """Return the command of a worker.

    Its node name has our process id, because another installation may use the same
    broker. Gossip, mingle and heartbeat only cost messages: Postgres decides.
    """
    command = [sys.executable, "-m", "celery", "-A", "execfabric.celery", "worker"]
    command += ["--pool", "prefork", "--concurrency", str(concurrency)]
    node = f"{name}-{os.getpid()}@%h"
    command += ["-Q", "execfabric", "-n", node, "--loglevel", "INFO"]
    return [*command, "--without-gossip", "--without-mingle", "--without-heartbeat"]


def default_concurrency() -> int:
    """Return the number of steps that one worker runs at a time.

    :raises StartFailed: if EXECFABRIC_WORKER_CONCURRENCY is not a positive number
    """
    text = os.environ.get("EXECFABRIC_WORKER_CONCURRENCY", "")
    if not text:
        return max(2, min(4, os.cpu_count() or 2))
    if not text.isdecimal() or int(text) == 0:
        message = f"Invalid EXECFABRIC_WORKER_CONCURRENCY {text!r}: it must be"
        raise StartFailed(f"{message} a whole number from 1.")
    return int(text)


def without_secrets(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without the secrets of skills, which only workers get."""
    return {name: value for name, value in env.items() if not _is_secret(name)}


def _is_secret(variable: str) -> bool:
    if variable == "EXECFABRIC_SECRET_KEY_FALLBACKS":
        return False  # of Django's own signing key
    return variable.startswith(("EXECFABRIC_SECRET_", "EXECFABRIC_SECRETS_DIR"))


def web(env: Mapping[str, str], *, port: int) -> Service:
    """Return the web server as a service."""
    url = f"http://{HOST}:{port}/readyz"
    return Service(
        name="web",
        argv=web_command(port),
        env=without_secrets(env),
        # Another server may answer on a port that this one did not get.
        ready=lambda process: process.printed(LISTENS) and answers(url),
        grace=10,
        port=port,
    )


def worker(
    env: Mapping[str, str], *, concurrency: int | None = None, name: str = "worker"
) -> Service:
    """Return a worker as a service."""
    concurrency = concurrency or default_concurrency()
    return Service(
        name=name,
        argv=worker_command(concurrency=concurrency, name=name),
        env=env,
        ready=lambda process: process.printed(" ready."),
        grace=LONGEST_STEP_AT_STOP,
        # On every other signal it first finishes its steps.
        orphan_signal=signal.SIGKILL,
    )


def keeper(env: Mapping[str, str], *, ready_file: Path) -> Service:
    """Return the keeper as a service."""

    def has_swept(process: ServiceProcess) -> bool:
        return ready_file.exists() and ready_file.stat().st_mtime >= process.started

    return Service(
        name="keeper",
        argv=manage("keeper", "--skip-checks", "--ready-file", str(ready_file)),
        env=without_secrets(env),
        ready=has_swept,
    )


def answers(url: str) -> bool:
    """Return True if a GET of this loopback address returns 200."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as response:
            return bool(response.status == HTTPStatus.OK)
    except urllib.error.HTTPError as error:
        error.close()
        return False
    except OSError:
        return False
