"""The real web server in a process of its own, over the test's own database."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest
from django.db import connection

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 240


@contextmanager
def serving(folder: Path, **environment: str) -> Iterator[str]:
    """Run the server; give its address. Its log is `server.log` in the folder."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (folder / "server.log").open("wb")
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "uvicorn", "execfabric.asgi:application"),
            *("--host", "127.0.0.1", "--port", str(port), "--lifespan", "off"),
        ],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": database_url()} | environment,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        yield _answering(f"http://127.0.0.1:{port}", process)
    finally:
        process.terminate()
        process.wait(timeout=60)
        log.close()


def database_url() -> str:
    """Return the address of the test's database, for processes of their own."""
    at = connection.settings_dict
    who = quote(at["USER"], safe="")
    if at["PASSWORD"]:
        who += ":" + quote(at["PASSWORD"], safe="")
    return f"postgresql://{who}@{at['HOST']}:{at['PORT']}/{at['NAME']}"


def _answering(url: str, process: "subprocess.Popen[bytes]") -> str:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        assert process.poll() is None, "the server ended at once"
        try:
            httpx2.get(f"{url}/api/v1/openapi.json", trust_env=False)
        except httpx2.HTTPError:
            time.sleep(0.2)
        else:
            return url
    pytest.fail("the server does not answer")
