"""The only way out for handlers that speak HTTP: resolve once, check all, connect there.

A name is resolved a single time, every address it has is checked, and the
connection goes to a checked address while Host and SNI keep the name. So a name
that changes its answer between check and use gains nothing (DNS rebinding).
"""

import ipaddress
import socket
import ssl
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import httpx2

from orchestration.skills.execution.addresses import METADATA_SERVICE, IPAddress, denied
from orchestration.skills.execution.reasons import plain

MOST_REDIRECTS = 5
LARGEST_BODY = 10 * 1024 * 1024
PORTS = {"http": 80, "https": 443}
LAST_PORT = 65535
REDIRECTS = frozenset({301, 302, 303, 307, 308})
KEEPS_METHOD = frozenset({307, 308})


class OutboundRefused(Exception):
    """The address may not be called."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.sent = False
        """Whether a request was sent before, and its redirect led to this address."""


class Unreachable(Exception):
    """No connection came about. Nothing was sent."""


class AnswerLost(Exception):
    """The request was sent and no whole answer came: its effect is unknown."""


@dataclass(frozen=True)
class Rules:
    """Whom a skill may call, as its administrator configured it."""

    allow_hosts: frozenset[str] = frozenset()
    """Hosts (`name` or `name:port`) that may have any address, private ones too."""
    allow_private: bool = False
    """Whether private addresses are allowed; metadata services never are."""
    only_hosts: frozenset[str] = frozenset()
    """Where set, no other host may be called."""

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Rules":
        """The rules in a skill's configuration."""
        return cls(
            allow_hosts=frozenset(map(str.lower, config.get("allow_hosts", ()))),
            allow_private=config.get("allow_private", False),
            only_hosts=frozenset(map(str.lower, config.get("only_hosts", ()))),
        )


@dataclass(frozen=True)
class Target:
    """Where a request goes: the URL as asked for and the checked addresses."""

    url: httpx2.URL
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Message:
    """A request to send."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    content: bytes = b""
    timeout_s: float = 30.0
    largest: int = LARGEST_BODY
    redirects: int = 0


@dataclass(frozen=True)
class Reply:
    """What came back, whole or cut at the limit."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    url: str
    truncated: bool = False


def resolve(url: str, rules: Rules) -> Target:
    """Check the URL and every address of its host.

    :raises OutboundRefused: when any of them may not be called
    :raises Unreachable: when the name has no address
    """
    return _resolve(url, rules, _addresses)


def foreseen(url: str, rules: Rules) -> OutboundRefused | None:
    """Why a URL will be refused, as far as that is known without looking up names."""
    try:
        _resolve(url, rules, _as_written)
    except OutboundRefused as refused:
        return refused
    return None


def _resolve(
    url: str, rules: Rules, look_up: Callable[[str, int], list[IPAddress]]
) -> Target:
    parsed = _parsed(url)
    host, port = parsed.host.lower().rstrip("."), parsed.port or PORTS[parsed.scheme]
    names = {host, f"{host}:{port}"}
    if rules.only_hosts and not names & rules.only_hosts:
        raise OutboundRefused("outbound.not_listed", f"{host} is not an allowed host.")
    found = look_up(host, port)
    if not names & rules.allow_hosts:
        for address in found:
            _check(host, address, rules)
    return Target(url=parsed, addresses=tuple(map(str, found)))


def send(
    message: Message,
    rules: Rules,
    *,
    headers_for: Callable[[str], Mapping[str, str]] = lambda _: {},
) -> Reply:
    """Send a request and follow at most `message.redirects` redirects, each checked.

    `headers_for` gives what only one host may see, its credentials for example.

    :raises OutboundRefused: when an address may not be called
    :raises Unreachable: when no connection came about
    :raises AnswerLost: when it was sent and the answer did not come
    """
    method, url, content = message.method.upper(), message.url, message.content
    for hop in range(min(message.redirects, MOST_REDIRECTS) + 1):
        try:
            target = resolve(url, rules)
            headers = {**message.headers, **headers_for(target.url.host.lower())}
            reply = _exchange(target, method, headers, content, message)
        except OutboundRefused as error:
            error.sent = hop > 0
            raise
        except Unreachable as error:
            if hop:
                text = f"a redirect was answered, but {error}"
                raise AnswerLost(text) from error
            raise
        location = reply.headers.get("location", "")
        if reply.status not in REDIRECTS or not location or not message.redirects:
            return reply
        following = target.url.join(location)
        if target.url.scheme == "https" and following.scheme != "https":
            raise _sent("outbound.downgrade", "A redirect leads from https to http.")
        if reply.status not in KEEPS_METHOD and method != "HEAD":
            method, content = "GET", b""
        url = str(following)
    raise _sent("outbound.redirects", "There were too many redirects.")


def _sent(code: str, message: str) -> OutboundRefused:
    refused = OutboundRefused(code, message)
    refused.sent = True
    return refused


def form(values: Mapping[str, str]) -> bytes:
    """A form as browsers send it."""
    return urllib.parse.urlencode(values).encode()


def _parsed(url: str) -> httpx2.URL:
    if any(
        letter.isspace() or not letter.isprintable() or letter == "\\" for letter in url
    ):
        raise OutboundRefused("outbound.url", "The URL holds a blank or a backslash.")
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError) as error:
        raise OutboundRefused(
            "outbound.url", f"The URL is not valid: {error}"
        ) from error
    if parsed.scheme not in PORTS:
        raise OutboundRefused("outbound.scheme", "Only http and https are allowed.")
    if parsed.userinfo:
        raise OutboundRefused("outbound.url", "The URL holds a user name or password.")
    if parsed.port is not None and not 0 < parsed.port <= LAST_PORT:
        raise OutboundRefused("outbound.url", f"There is no port {parsed.port}.")
    if not parsed.host or "%" in parsed.host:
        raise OutboundRefused(
            "outbound.url", "The URL names no host, or a zone of one."
        )
    return parsed


def _addresses(host: str, port: int) -> list[IPAddress]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError, OverflowError) as error:
        message = f"{host} has no address: {plain(error)}"
        raise Unreachable(message) from error
    texts = dict.fromkeys(str(entry[4][0]) for entry in found)
    return [ipaddress.ip_address(text.partition("%")[0]) for text in texts]


def _as_written(host: str, _: int) -> list[IPAddress]:
    try:
        return [ipaddress.ip_address(host)]
    except ValueError:
        return []


def _check(host: str, address: IPAddress, rules: Rules) -> None:
    reason = denied(address)
    if not reason or (rules.allow_private and reason != METADATA_SERVICE):
        return
    what = reason if host == str(address) else f"{address}, {reason}"
    message = f"{host} is {what}; the skill's configuration does not allow it."
    raise OutboundRefused("outbound.denied", message)


def _exchange(
    target: Target,
    method: str,
    headers: Mapping[str, str],
    content: bytes,
    message: Message,
) -> Reply:
    """Try the checked addresses in turn; the first connection counts."""
    last = ""
    for address in target.addresses:
        request = httpx2.Request(
            method,
            target.url.copy_with(host=address),
            headers={**headers, "Host": _host_header(target.url)},
            content=content,
            extensions={"sni_hostname": target.url.host},
        )
        try:
            with _streamed(request, message.timeout_s) as response:
                return _reply(response, target, message.largest)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            last = plain(error)
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            text = f"{target.url.host}: {plain(error)}"
            raise AnswerLost(text) from error
    text = f"{target.url.host} could not be reached: {last}"
    raise Unreachable(text)


@contextmanager
def _streamed(request: httpx2.Request, timeout_s: float) -> Iterator[httpx2.Response]:
    # No proxies and no .netrc from the environment: they would lead round the check.
    verify = _tls() if request.url.scheme == "https" else False
    with httpx2.Client(trust_env=False, timeout=timeout_s, verify=verify) as client:
        request.extensions["timeout"] = httpx2.Timeout(timeout_s).as_dict()
        response = client.send(request, stream=True, follow_redirects=False)
        try:
            yield response
        finally:
            response.close()


@lru_cache(maxsize=1)
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _reply(response: httpx2.Response, target: Target, largest: int) -> Reply:
    kept = bytearray()
    for chunk in response.iter_bytes():
        kept += chunk
        if len(kept) > largest:
            break
    return Reply(
        status=response.status_code,
        headers={key.lower(): value for key, value in response.headers.items()},
        content=bytes(kept[:largest]),
        url=str(target.url),
        truncated=len(kept) > largest,
    )


def _host_header(url: httpx2.URL) -> str:
    return url.netloc.decode("ascii")
