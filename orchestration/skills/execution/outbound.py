"""Send HTTP requests for handlers: resolve once, check each address, connect to it.

A name is resolved once, each of its addresses is checked, and the connection goes to a
checked address, while Host and SNI have the name. So a name that resolves differently
between check and use has no effect (DNS rebinding). The transport of httpx2 offers no
place for such a check: a network backend would need its private connection pool.
"""

import ipaddress
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import httpx2

from orchestration.skills.domain.outcome import CallFailed, Failed, refused
from orchestration.skills.execution.addresses import METADATA_SERVICE, IPAddress, denied
from orchestration.skills.execution.reasons import of_connection, plain

MOST_REDIRECTS = 5
LARGEST_BODY = 10 * 1024 * 1024
PORTS = {"http": 80, "https": 443}
LAST_PORT = 65535
REDIRECTS = frozenset({301, 302, 303, 307, 308})
KEEPS_METHOD = frozenset({307, 308})
HeadersFor = Callable[[str], Mapping[str, str]]


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
        return cls(
            allow_hosts=frozenset(map(str.lower, config.get("allow_hosts", ()))),
            allow_private=config.get("allow_private", False),
            only_hosts=frozenset(map(str.lower, config.get("only_hosts", ()))),
        )


@dataclass(frozen=True)
class Target:
    url: httpx2.URL
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Message:
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


def addresses_of(host: str, port: int) -> list[IPAddress]:
    """Resolve a host.

    :raises Unreachable: when the name has no address
    """
    try:
        entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError, OverflowError) as error:
        message = f"cannot resolve {host}: {plain(error)}"
        raise Unreachable(message) from error
    texts = dict.fromkeys(str(entry[4][0]) for entry in entries)
    return [ipaddress.ip_address(text.partition("%")[0]) for text in texts]


def written_address(host: str, _: int) -> list[IPAddress]:
    """Return the address that a URL contains instead of a name, without a look-up."""
    try:
        return [ipaddress.ip_address(host)]
    except ValueError:
        return []


def resolve(
    url: str,
    rules: Rules,
    look_up: Callable[[str, int], list[IPAddress]] = addresses_of,
) -> Target:
    """Check the URL and each address of its host.

    :raises CallFailed: when one of them is not allowed
    :raises Unreachable: when the name has no address
    """
    parsed = _parsed(url)
    host, port = parsed.host.lower().rstrip("."), parsed.port or PORTS[parsed.scheme]
    names = {host, f"{host}:{port}"}
    if rules.only_hosts and not names & rules.only_hosts:
        message = (
            f"Cannot call {host}: the host is not allowed. Ask an admin to allow it."
        )
        raise refused("outbound.not_listed", message)
    addresses = look_up(host, port)
    if not names & rules.allow_hosts:
        for address in addresses:
            _check(host, address, rules)
    return Target(url=parsed, addresses=tuple(map(str, addresses)))


def send(
    message: Message,
    rules: Rules,
    *,
    headers_for: HeadersFor = lambda _: {},
) -> Reply:
    """Send a request and follow at most `message.redirects` redirects, each checked.

    `headers_for` returns the headers for one host only, such as credentials.

    :raises CallFailed: when an address is not allowed
    :raises Unreachable: when it cannot connect
    :raises AnswerLost: when the request was sent, but no complete response came
    """
    reply = _exchange(message, rules, headers_for)
    for _ in range(min(message.redirects, MOST_REDIRECTS)):
        if not _is_redirect(reply):
            return reply
        message = _redirected(message, reply)
        try:
            reply = _exchange(message, rules, headers_for)
        except CallFailed as error:
            raise _not_followed(error.outcome.code, str(error)) from error
        except Unreachable as error:
            text = f"{error}, after a redirect"
            raise AnswerLost(text) from error
    if message.redirects and _is_redirect(reply):
        text = "Cannot follow the redirect: too many redirects. The request was sent. Raise `redirects`."
        raise _not_followed("outbound.redirects", text)
    return reply


def _is_redirect(reply: Reply) -> bool:
    return reply.status in REDIRECTS and bool(reply.headers.get("location"))


def _redirected(message: Message, reply: Reply) -> Message:
    """Return the message that follows a redirect."""
    url = httpx2.URL(reply.url)
    following = url.join(reply.headers["location"])
    if url.scheme == "https" and following.scheme != "https":
        text = "Cannot follow a redirect from https to http. The request was sent."
        raise _not_followed("outbound.downgrade", text)
    if reply.status in KEEPS_METHOD or message.method.upper() == "HEAD":
        return replace(message, url=str(following))
    return replace(message, url=str(following), method="GET", content=b"")


def _not_followed(code: str, message: str) -> CallFailed:
    """Return the error for a redirect: a request was sent before it."""
    return CallFailed(Failed(code, message))


def _parsed(url: str) -> httpx2.URL:
    if any(
        letter.isspace() or not letter.isprintable() or letter == "\\" for letter in url
    ):
        message = (
            "Invalid URL: it contains a blank, a backslash or an invisible character."
        )
        raise refused("outbound.url", message)
    try:
        parsed = httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError) as error:
        # Not the URL itself, which may contain a password.
        message = f"Invalid URL: {error}."
        raise refused("outbound.url", message) from error
    if parsed.scheme not in PORTS:
        message = f"Invalid URL scheme {parsed.scheme!r}. Use http or https."
        raise refused("outbound.scheme", message)
    if parsed.userinfo:
        message = "Invalid URL: it contains a user name or password. Remove it."
        raise refused("outbound.url", message)
    if parsed.port is not None and not 0 < parsed.port <= LAST_PORT:
        raise refused("outbound.url", f"Invalid port {parsed.port} in the URL.")
    if not parsed.host or "%" in parsed.host:
        message = "Invalid URL: the host is missing or has an IPv6 zone."
        raise refused("outbound.url", message)
    return parsed


def _check(host: str, address: IPAddress, rules: Rules) -> None:
    reason = denied(address)
    if not reason or (rules.allow_private and reason != METADATA_SERVICE):
        return
    what = reason if host == str(address) else f"{address}, {reason}"
    message = f"Cannot call {host}: it is {what}. The skill's configuration does not allow it."
    raise refused("outbound.denied", message)


def _exchange(message: Message, rules: Rules, headers_for: HeadersFor) -> Reply:
    """Send the message to the first checked address that can be reached."""
    target = resolve(message.url, rules)
    headers = {**message.headers, **headers_for(target.url.host.lower())}
    last = ""
    for address in target.addresses:
        request = httpx2.Request(
            message.method.upper(),
            target.url.copy_with(host=address),
            headers={**headers, "Host": target.url.netloc.decode("ascii")},
            content=message.content,
            extensions={"sni_hostname": target.url.host},
        )
        try:
            with _streamed(request, message.timeout_s) as response:
                return _reply(response, target, message.largest)
        except (httpx2.ConnectError, httpx2.ConnectTimeout) as error:
            last = of_connection(error)
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            text = f"{target.url.host}: {of_connection(error)}"
            raise AnswerLost(text) from error
    text = f"cannot connect to {target.url.host}: {last}"
    raise Unreachable(text)


@contextmanager
def _streamed(request: httpx2.Request, timeout_s: float) -> Iterator[httpx2.Response]:
    # No proxies and no .netrc from the environment: they would bypass the check.
    verify = _tls() if request.url.scheme == "https" else False
    with httpx2.Client(trust_env=False, timeout=timeout_s, verify=verify) as client:
        request.extensions["timeout"] = httpx2.Timeout(timeout_s).as_dict()
        answer = client.send(request, stream=True, follow_redirects=False)
        with closing(answer) as response:
            yield response


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
