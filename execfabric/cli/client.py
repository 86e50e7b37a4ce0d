"""Call the API, and map its responses to exit codes."""

import os
from enum import IntEnum
from http import HTTPStatus
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import httpx2

from execfabric.local import endpoints

DEFAULT_URL = "http://127.0.0.1:8000"
TIMEOUT_SECONDS = 60
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Exit(IntEnum):
    """The exit codes of the command."""

    OK = 0
    FAILED = 1
    USAGE = 2
    WAITING = 3
    DENIED = 4
    NOT_FOUND = 5


EXIT_BY_STATUS: dict[int, Exit] = {
    HTTPStatus.BAD_REQUEST: Exit.USAGE,
    HTTPStatus.UNAUTHORIZED: Exit.DENIED,
    HTTPStatus.FORBIDDEN: Exit.DENIED,
    HTTPStatus.NOT_FOUND: Exit.NOT_FOUND,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: Exit.USAGE,
    HTTPStatus.UNPROCESSABLE_ENTITY: Exit.USAGE,
}


class CommandFailed(Exception):
    """The command failed; `problem` has the reason and a stable code."""

    def __init__(self, exit_code: Exit, problem: dict[str, Any]) -> None:
        self.exit_code = exit_code
        self.problem = problem
        super().__init__(problem["detail"])


class ServerUnreachable(CommandFailed):
    """The server did not respond."""


class UsageProblem(CommandFailed):
    """An argument or a setting is invalid."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(Exit.USAGE, {"code": code, "detail": detail})


class Client:
    """A client of one server with one token."""

    def __init__(self, *, url: str, token: str) -> None:
        headers = {"X-ExecFabric-Channel": "cli", "Accept": "application/json"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self.url = url
        try:
            self._http = httpx2.Client(
                headers=headers,
                timeout=TIMEOUT_SECONDS,
                # A proxy cannot reach the loopback of this machine.
                trust_env=urlsplit(url).hostname not in LOOPBACK,
            )
        except (httpx2.InvalidURL, ValueError) as error:
            detail = f"Invalid EXECFABRIC_URL or EXECFABRIC_TOKEN: {error}"
            raise UsageProblem("cli.bad_setting", detail) from error

    def get(self, path: str, **params: Any) -> Any:
        """Return the JSON at a path; leave out parameters that are None."""
        values = {name: value for name, value in params.items() if value is not None}
        return self._send("GET", path, params=values)

    def post(
        self,
        path: str,
        body: dict[str, Any] | None = None,
        *,
        idempotency_key: str = "",
        traceparent: str = "",
    ) -> Any:
        named = {"Idempotency-Key": idempotency_key, "traceparent": traceparent}
        headers = {name: text for name, text in named.items() if text}
        return self._send("POST", path, json=body, headers=headers)

    def upload(self, path: str, content: IO[bytes], *, name: str) -> Any:
        """Send a file as the body."""
        headers = {"Content-Type": "application/octet-stream"}
        return self._send(
            "POST", path, params={"name": name}, content=content, headers=headers
        )

    def close(self) -> None:
        self._http.close()

    def _send(self, method: str, path: str, **parts: Any) -> Any:
        # Not joined with a base URL, because `plans:validate` looks like a scheme.
        address = f"{self.url.rstrip('/')}/api/v1/{path}"
        try:
            response = self._http.request(method, address, **parts)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            detail = f"Cannot reach {self.url}: {error}. Check EXECFABRIC_URL."
            problem = {"code": "cli.no_connection", "detail": detail}
            raise ServerUnreachable(Exit.FAILED, problem) from error
        return _answer(response, self.url)


def url_from_environment() -> str:
    """Return EXECFABRIC_URL, the URL of the local installation, or the default."""
    if url := os.environ.get("EXECFABRIC_URL", ""):
        return url
    home = Path(__file__).resolve().parents[2]
    local = endpoints.load(Path(os.environ.get("EXECFABRIC_DATA_DIR", home / ".data")))
    return (local.url if local else "") or DEFAULT_URL


def _answer(response: httpx2.Response, url: str) -> Any:
    try:
        value = response.json()
    except ValueError:
        value = None
    if response.is_success and value is not None:
        return value
    if not isinstance(value, dict) or "code" not in value:
        detail = (
            f"Unexpected response {response.status_code} from {url}."
            " Check that ExecFabric runs there."
        )
        value = {"code": "cli.not_understood", "detail": detail}
    exit_code = EXIT_BY_STATUS.get(response.status_code, Exit.FAILED)
    raise CommandFailed(exit_code, value)
