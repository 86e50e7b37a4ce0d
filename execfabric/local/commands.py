"""The command lines of the product's own services."""

import os
import signal
import sys
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path

import httpx2

from execfabric.local.layout import PROJECT, StartFailed
from execfabric.local.ports import HOST
from execfabric.local.service import Service, ServiceProcess

SECRETS = ("EXECFABRIC_SECRET_", "EXECFABRIC_SECRETS_DIR")
SIGNING_KEYS = "EXECFABRIC_SECRET_KEY_FALLBACKS"
"""Old signing keys of Django; not secrets of skills despite the name."""
LISTENS = "Uvicorn running on "
LONGEST_STEP_AT_STOP = 20.0
"""Seconds a worker has to finish its steps after the stop signal."""


def manage(*arguments: str) -> list[str]:
    return [sys.executable, str(PROJECT / "manage.py"), *arguments]


def prepare(*, demo: bool) -> list[str]:
    """Return the command that prepares the database; it needs the owner's rights."""
    command = [sys.executable, "-m", "execfabric.local.prepare"]
    return [*command, "--demo"] if demo else command


def default_concurrency() -> int:
    """Return the number of steps that one worker runs at a time.

    :raises StartFailed: if EXECFABRIC_WORKER_CONCURRENCY is not a positive number
    """
    text = os.environ.get("EXECFABRIC_WORKER_CONCURRENCY", "")
    if not text:
        return max(2, min(4, os.cpu_count() or 2))
    if not text.isdecimal() or int(text) == 0:
        message = f"Invalid EXECFABRIC_WORKER_CONCURRENCY {text!r}: it must be"
        raise StartFailed(f"{message} a whole number, at least 1.")
    return int(text)


def without_secrets(env: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without the secrets of skills, which only workers get."""
    return {
        name: value
        for name, value in env.items()
        if name == SIGNING_KEYS or not name.startswith(SECRETS)
    }


def web(env: Mapping[str, str], *, port: int) -> Service:
    """Return the web server as a service; it trusts no proxy, as there is none."""
    arguments = (
        f"execfabric.asgi:application --host {HOST} --port {port} --no-proxy-headers"
        " --http execfabric.web.protocol:TimedProtocol"
        " --limit-concurrency 2000 --no-server-header"
        # Without a limit an open websocket would delay the stop forever.
        " --timeout-graceful-shutdown 5"
    )
    url = f"http://{HOST}:{port}/readyz"
    return Service(
        name="web",
        argv=[sys.executable, "-m", "uvicorn", *arguments.split()],
        env=without_secrets(env),
        # Another server may answer on a port that this one did not get.
        ready=lambda process: process.printed(LISTENS) and answers(url),
        grace=10,
        port=port,
    )


def worker(
    env: Mapping[str, str], *, concurrency: int | None = None, name: str = "worker"
) -> Service:
    """Return a worker as a service.

    Its node name has our process id, because another installation may use the same
    broker. Gossip, mingle and heartbeat only cost messages: Postgres decides.
    """
    concurrency = concurrency or default_concurrency()
    arguments = (
        f"-A execfabric.celery worker --pool prefork --concurrency {concurrency}"
        f" -Q execfabric -n {name}-{os.getpid()}@%h --loglevel INFO"
        " --without-gossip --without-mingle --without-heartbeat"
    )
    return Service(
        name=name,
        argv=[sys.executable, "-m", "celery", *arguments.split()],
        env=env,
        ready=lambda process: process.printed(" ready."),
        grace=LONGEST_STEP_AT_STOP,
        # On every other signal it first finishes its steps.
        orphan_signal=signal.SIGKILL,
    )


def keeper(env: Mapping[str, str], *, ready_file: Path) -> Service:
    def has_swept(process: ServiceProcess) -> bool:
        return ready_file.exists() and ready_file.stat().st_mtime >= process.created

    return Service(
        name="keeper",
        argv=manage("keeper", "--skip-checks", "--ready-file", str(ready_file)),
        env=without_secrets(env),
        ready=has_swept,
    )


def answers(url: str) -> bool:
    """Return True if a GET of this loopback address returns 200."""
    try:
        # Without the proxy of the environment.
        response = httpx2.get(url, timeout=5, trust_env=False)
    except httpx2.HTTPError:
        return False
    return bool(response.status_code == HTTPStatus.OK)
