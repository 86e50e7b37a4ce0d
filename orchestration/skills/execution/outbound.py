"""Send HTTP requests for handlers: resolve once, check each address, connect to it.

A name is resolved once, each of its addresses is checked, and the connection goes to a
checked address, while Host and SNI have the name. So a name that resolves differently
between check and use has no effect (DNS rebinding). The transport of httpx2 offers no
place for such a check: a network backend would need its private connection pool.
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
    """The address is not allowed."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.sent = False
        """True if a request was sent before, and redirected to this address."""


class Unreachable(Exception):
    """Cannot connect. Nothing was sent."""


class AnswerLost(Exception):
    """The request was sent, but no complete response came: its effect is unknown."""


@dataclass(frozen=True)
class Rules:
    """The addresses that a skill may call, from its configuration."""

    allow_hosts: frozenset[str] = frozenset()
    """Hosts (`name` or `name:port`) that may have any address, private ones included."""
    allow_private: bool = False
    """True if private addresses are allowed; metadata services never are."""
    only_hosts: frozenset[str] = frozenset()
    """The only hosts that may be called; empty for all."""

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> "Rules":
        """Read the rules from a skill's configuration."""
        return cls(
            allow_hosts=frozenset(map(str.lower, config.get("allow_hosts", ()))),
            allow_private=config.get("allow_private", False),
            only_hosts=frozenset(map(str.lower, config.get("only_hosts", ()))),
        )


@dataclass(frozen=True)
class Target:
    """The URL of a request and the checked addresses of its host."""

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
    """A response, complete or cut at the limit."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    url: str
    truncated: bool = False


def resolve(url: str, rules: Rules) -> Target:
    """Check the URL and each address of its host.

    :raises OutboundRefused: when one of them is not allowed
    :raises Unreachable: when the name has no address
    """
    return _resolve(url, rules, _addresses)


def foreseen(url: str, rules: Rules) -> OutboundRefused | None:
    """Return why a URL is not allowed, without resolving its host."""
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
        raise OutboundRefused(
            "outbound.not_listed",
            f"Cannot call {host}: the host is not allowed. Ask an admin to allow it.",
        )
    addresses = look_up(host, port)
    if not names & rules.allow_hosts:
        for address in addresses:
            _check(host, address, rules)
    return Target(url=parsed, addresses=tuple(map(str, addresses)))


def send(
    message: Message,
    rules: Rules,
    *,
    headers_for: Callable[[str], Mapping[str, str]] = lambda _: {},
) -> Reply:
    """Send a request and follow at most `message.redirects` redirects, each checked.

    `headers_for` returns the headers for one host only, such as credentials.

    :raises OutboundRefused: when an address is not allowed
    :raises Unreachable: when it cannot connect
    :raises AnswerLost: when the request was sent, but no complete response came
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
                text = f"{error}, after a redirect"
                raise AnswerLost(text) from error
            raise
        location = reply.headers.get("location", "")
        if reply.status not in REDIRECTS or not location or not message.redirects:
            return reply
        following = target.url.join(location)
        if target.url.scheme == "https" and following.scheme != "https":
            raise _sent(
                "outbound.downgrade",
                "Cannot follow a redirect from https to http. The request was sent.",
            )
        if reply.status not in KEEPS_METHOD and method != "HEAD":
            method, content = "GET", b""
        url = str(following)
    raise _sent(
        "outbound.redirects",
        "Cannot follow more redirects: too many. The request was sent. Raise `redirects`.",
    )


def _sent(code: str, message: str) -> OutboundRefused:
    refused = OutboundRefused(code, message)
    refused.sent = True
    return refused


def form(values: Mapping[str, str]) -> bytes:
    """Encode a form as browsers do."""
    return urllib.parse.urlencode(values).encode()


def _parsed(url: str) -> httpx2.URL:
    if any(
        letter.isspace() or not letter.isprintable() or letter == "\\" for letter in url
    ):
        raise OutboundRefused(
            "outbound.url",
            "Invalid URL: it contains a blank, a backslash or an invisible character.",
        )
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError) as error:
        raise OutboundRefused(
            "outbound.url", f"Invalid URL {url!r}: {error}."
        ) from error
    if parsed.scheme not in PORTS:
        raise OutboundRefused(
            "outbound.scheme", f"Invalid URL {url!r}. Use http or https."
        )
    if parsed.userinfo:
        raise OutboundRefused(
            "outbound.url",
            "Invalid URL: it contains a user name or password. Remove it.",
        )
    if parsed.port is not None and not 0 < parsed.port <= LAST_PORT:
        raise OutboundRefused("outbound.url", f"Invalid port {parsed.port} in the URL.")
    if not parsed.host or "%" in parsed.host:
        raise OutboundRefused(
            "outbound.url", f"Invalid URL {url!r}: the host is missing or has a zone."
        )
    return parsed


def _addresses(host: str, port: int) -> list[IPAddress]:
    try:
        entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError, OverflowError) as error:
        message = f"cannot resolve {host}: {plain(error)}"
        raise Unreachable(message) from error
    texts = dict.fromkeys(str(entry[4][0]) for entry in entries)
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
    message = f"Cannot call {host}: it is {what}. The skill's configuration does not allow it."
    raise OutboundRefused("outbound.denied", message)


def _exchange(
    target: Target,
    method: str,
    headers: Mapping[str, str],
    content: bytes,
    message: Message,
) -> Reply:
    """Send the request to the first checked address that can be reached."""
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
    text = f"cannot connect to {target.url.host}: {last}"
    raise Unreachable(text)


@contextmanager
def _streamed(request: httpx2.Request, timeout_s: float) -> Iterator[httpx2.Response]:
    # No proxies and no .netrc from the environment: they would bypass the check.
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
    body = bytearray()
    for chunk in response.iter_bytes():
        body += chunk
        if len(body) > largest:
            break
    return Reply(
        status=response.status_code,
        headers={key.lower(): value for key, value in response.headers.items()},
        content=bytes(body[:largest]),
        url=str(target.url),
        truncated=len(body) > largest,
    )


def _host_header(url: httpx2.URL) -> str:
    return url.netloc.decode("ascii")
