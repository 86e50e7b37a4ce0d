"""Calls to the API, and what its answers mean for the exit code."""

import os
from enum import IntEnum
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2

from execfabric.local import endpoints

DEFAULT_URL = "http://127.0.0.1:8000"
TIMEOUT_SECONDS = 60
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Exit(IntEnum):
    """What the command says to the shell."""

    OK = 0
    FAILED = 1
    USAGE = 2
    WAITING = 3
    DENIED = 4
    NOT_FOUND = 5


EXIT_BY_STATUS = {
    HTTPStatus.BAD_REQUEST: Exit.USAGE,
    HTTPStatus.UNAUTHORIZED: Exit.DENIED,
    HTTPStatus.FORBIDDEN: Exit.DENIED,
    HTTPStatus.NOT_FOUND: Exit.NOT_FOUND,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: Exit.USAGE,
    HTTPStatus.UNPROCESSABLE_ENTITY: Exit.USAGE,
}


class Failed(Exception):
    """The command cannot do what was asked; `problem` says why, with a stable code."""

    def __init__(self, exit_code: Exit, problem: dict[str, Any]) -> None:
        self.exit_code = exit_code
        self.problem = problem
        super().__init__(problem["detail"])


class Unreachable(Failed):
    """The server gave no answer."""


class Misused(Failed):
    """What was typed cannot be meant."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(Exit.USAGE, {"code": code, "detail": detail})


class Client:
    """One server, asked with one token."""

    def __init__(self, *, url: str, token: str) -> None:
        headers = {"X-ExecFabric-Channel": "cli", "Accept": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self.url = url
        try:
            self._http = httpx2.Client(
                headers=headers,
                timeout=TIMEOUT_SECONDS,
                # A proxy of the environment cannot reach this machine's loopback.
                trust_env=urlsplit(url).hostname not in LOOPBACK,
            )
        except (httpx2.InvalidURL, ValueError) as error:
            detail = f"EXECFABRIC_URL or EXECFABRIC_TOKEN cannot be used: {error}"
            raise Misused("cli.bad_setting", detail) from error

    def get(self, path: str, **params: Any) -> Any:
        """The JSON at a path; parameters without a value are left out."""
        given = {name: value for name, value in params.items() if value is not None}
        return self._send("GET", path, params=given)

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """The JSON that answers a request to act."""
        return self._send("POST", path, json=body)

    def close(self) -> None:
        """Leave no connection open."""
        self._http.close()

    def _send(self, method: str, path: str, **parts: Any) -> Any:
        # Whole, not merged with a base: `plans:validate` alone looks like a scheme.
        address = f"{self.url.rstrip('/')}/api/v1/{path}"
        try:
            response = self._http.request(method, address, **parts)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            detail = f"{self.url} does not answer: {error}"
            problem = {"code": "cli.no_connection", "detail": detail}
            raise Unreachable(Exit.FAILED, problem) from error
        return _answer(response, self.url)


def url_from_environment() -> str:
    """`EXECFABRIC_URL`, else the local start's own address, else the usual one."""
    if url := os.environ.get("EXECFABRIC_URL", ""):
        return url
    home = Path(__file__).resolve().parents[2]
    found = endpoints.load(Path(os.environ.get("EXECFABRIC_DATA_DIR", home / ".data")))
    return (found.url if found else "") or DEFAULT_URL


def _answer(response: httpx2.Response, url: str) -> Any:
    try:
        value = response.json()
    except ValueError:
        value = None
    if response.is_success and value is not None:
        return value
    if not isinstance(value, dict) or "code" not in value:
        detail = f"{url} answered {response.status_code}, not as ExecFabric does."
        value = {"code": "cli.not_understood", "detail": detail}
    raise Failed(
        EXIT_BY_STATUS.get(HTTPStatus(response.status_code), Exit.FAILED), value
    )
