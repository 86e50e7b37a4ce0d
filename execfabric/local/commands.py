"""The exact command line of each of the project's own parts, said once."""

import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from execfabric.local.errors import StartFailed
from execfabric.local.layout import PROJECT
from execfabric.local.part import Part, Running
from execfabric.local.ports import HOST

ANSWERS = 200
LISTENS = "Uvicorn running on "
LONGEST_STEP_AT_STOP = 20.0
"""Seconds a worker may go on with its steps after it was told to stop."""


def manage(*arguments: str) -> list[str]:
    """A management command."""
    return [sys.executable, str(PROJECT / "manage.py"), *arguments]


def prepare(*, demo: bool) -> list[str]:
    """Everything the database needs before the parts start; with its owner's rights."""
    command = [sys.executable, "-m", "execfabric.local.prepare"]
    return [*command, "--demo"] if demo else command


def web_command(port: int) -> list[str]:
    """The web server. No proxy is trusted here: nothing stands before it."""
    command = [sys.executable, "-m", "uvicorn", "execfabric.asgi:application"]
    command += ["--host", HOST, "--port", str(port), "--no-proxy-headers"]
    command += ["--http", "execfabric.web.protocol:TimedProtocol"]
    command += ["--limit-concurrency", "2000"]
    # An open websocket would otherwise hold the stop for ever.
    return [*command, "--timeout-graceful-shutdown", "5", "--no-server-header"]


def worker_command(*, concurrency: int, name: str = "worker") -> list[str]:
    """A worker. Gossip, mingle and heartbeat only make noise: Postgres decides.

    Its node name carries our process id: another installation on this host may use the
    same broker.
    """
    command = [sys.executable, "-m", "celery", "-A", "execfabric.celery", "worker"]
    command += ["--pool", "prefork", "--concurrency", str(concurrency)]
    node = f"{name}-{os.getpid()}@%h"
    command += ["-Q", "execfabric", "-n", node, "--loglevel", "INFO"]
    return [*command, "--without-gossip", "--without-mingle", "--without-heartbeat"]


def keeper_command(ready_file: Path) -> list[str]:
    """The keeper."""
    return manage("keeper", "--skip-checks", "--ready-file", str(ready_file))


def default_concurrency() -> int:
    """How many steps one worker runs side by side, unless it is told.

    :raises StartFailed: when it is told something else than a number
    """
    told = os.environ.get("EXECFABRIC_WORKER_CONCURRENCY", "")
    if not told:
        return max(2, min(4, os.cpu_count() or 2))
    if not told.isdecimal() or int(told) == 0:
        message = "EXECFABRIC_WORKER_CONCURRENCY must be a whole number from 1,"
        raise StartFailed(f"{message} not {told!r}.")
    return int(told)


def without_secrets(env: Mapping[str, str]) -> dict[str, str]:
    """The environment of a part that reads no secrets of skills: all but workers."""
    return {name: value for name, value in env.items() if not _is_secret(name)}


def _is_secret(variable: str) -> bool:
    """Whether a variable holds a secret of a skill, or says where they are."""
    if variable == "EXECFABRIC_SECRET_KEY_FALLBACKS":
        return False  # of Django's own signing key
    return variable.startswith(("EXECFABRIC_SECRET_", "EXECFABRIC_SECRETS_DIR"))


def web(env: Mapping[str, str], *, port: int) -> Part:
    """The web server as a part."""
    address = f"http://{HOST}:{port}/readyz"
    return Part(
        name="web",
        argv=web_command(port),
        env=without_secrets(env),
        # Another server may answer on a port that this one did not get.
        ready=lambda running: running.said(LISTENS) and answers(address),
        grace=10,
        port=port,
    )


def worker(
    env: Mapping[str, str], *, concurrency: int | None = None, name: str = "worker"
) -> Part:
    """A worker as a part."""
    return Part(
        name=name,
        argv=worker_command(
            concurrency=concurrency or default_concurrency(), name=name
        ),
        env=env,
        ready=lambda running: running.said(" ready."),
        grace=LONGEST_STEP_AT_STOP,
        # Every other signal leaves it time for its steps.
        orphan_signal=signal.SIGKILL,
    )


def keeper(env: Mapping[str, str], *, ready_file: Path) -> Part:
    """The keeper as a part."""

    def swept(running: Running) -> bool:
        return ready_file.exists() and ready_file.stat().st_mtime >= running.started

    return Part(
        name="keeper",
        argv=keeper_command(ready_file),
        env=without_secrets(env),
        ready=swept,
    )


def answers(address: str) -> bool:
    """Whether a GET of our own loopback address gives 200."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(address, timeout=5) as response:
            return bool(response.status == ANSWERS)
    except urllib.error.HTTPError as error:
        error.close()
        return False
    except OSError:
        return False
