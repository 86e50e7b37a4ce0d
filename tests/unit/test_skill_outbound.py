"""Whom a handler may call: addresses, host forms, redirects, rebinding."""

import ipaddress
import json
import socket
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from orchestration.skills.domain.outcome import CallFailed
from orchestration.skills.execution import outbound
from orchestration.skills.execution.addresses import denied
from orchestration.skills.execution.outbound import (
    Message,
    Rules,
    Unreachable,
    resolve,
    send,
)
from tests.skill_calls import Bench, http_server, reply

REFUSED = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255",
    "127.0.0.1", "127.255.255.254", "169.254.0.1", "169.254.169.254", "169.254.170.2",
    "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.192", "192.0.2.1",
    "192.88.99.1", "192.168.0.1", "192.168.255.255", "198.18.0.1", "198.51.100.7",
    "203.0.113.9", "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "100.100.100.200", "168.63.129.16",
    "::", "::1", "::127.0.0.1", "::10.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "::ffff:169.254.169.254", "::ffff:0:127.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe", "64:ff9b::a00:1", "64:ff9b:1::1", "2002:7f00:1::",
    "2002:a00:1::1", "2002:a9fe:a9fe::1", "2001:0:1::1", "2001:db8::1", "100::1",
    "fc00::1", "fd00::1", "fd00:ec2::254", "fe80::1", "febf::1", "fec0::1", "ff02::1",
    "2606:4700::200:5efe:7f00:1", "2606:4700::5efe:a00:1", "3fff::1", "5f00::1",
]  # fmt: skip
ALLOWED = [
    "1.1.1.1", "8.8.8.8", "93.184.215.14", "172.15.255.255", "172.32.0.1", "100.63.0.1",
    "100.128.0.1", "192.0.1.1", "198.17.0.1", "198.20.0.1", "223.255.255.255",
    "2606:4700:4700::1111", "2a00:1450:4001::200e", "::ffff:8.8.8.8",
    "64:ff9b::808:808", "2002:808:808::1",
]  # fmt: skip
# What the system's resolver reads as an address although it does not look like one.
ODD_FORMS = [
    "http://127.1/", "http://2130706433/", "http://0x7f.1/", "http://0x7f000001/",
    "http://017700000001/", "http://127.0.1/", "http://0/",
    "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://[0:0:0:0:0:ffff:7f00:1]/",
    "http://[64:ff9b::127.0.0.1]/", "http://localhost/", "http://LOCALHOST./",
    "http://169.254.169.254/latest/meta-data/", "http://2852039166/",
]  # fmt: skip
BAD_URLS = [
    "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/", "//example.com/",
    "example.com", "http://", "http:///path", "http://user@example.com/",
    "http://example.com:pw@127.0.0.1/", "http://example.com\\@127.0.0.1/",
    "http://example.com/\r\nX: y", "http://exa mple.com/", "http://[fe80::1%25eth0]/",
    "http://example.com:99999/", "http://①②⑦.⓪.⓪.①/", "http://[::1/", "http://0177.0.0.1/", "\thttp://example.com/",
]  # fmt: skip


@pytest.mark.parametrize("address", REFUSED)
def test_an_address_that_is_not_public_is_refused(address):
    assert denied(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ALLOWED)
def test_a_public_address_is_allowed(address):
    assert denied(ipaddress.ip_address(address)) == ""


@pytest.mark.parametrize("url", ODD_FORMS)
def test_loopback_and_metadata_are_refused_however_they_are_written(url):
    with pytest.raises(CallFailed) as caught:
        resolve(url, Rules())

    assert caught.value.outcome.code == "outbound.denied"


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_url_that_two_readers_could_read_differently_is_refused(url):
    with pytest.raises(CallFailed) as caught:
        resolve(url, Rules(allow_private=True))

    assert caught.value.outcome.code in {"outbound.url", "outbound.scheme"}


@pytest.mark.parametrize(
    "url",
    [
        "ftp://user:pa55@a.example/",
        "https://user:pa55@a.example:99999x/",
        "http://u:pa55@",
    ],
)
def test_a_refused_url_is_not_quoted_with_its_password(url):
    with pytest.raises(CallFailed) as caught:
        resolve(url, Rules())

    assert "pa55" not in caught.value.outcome.message


def answering(*texts: str):
    def getaddrinfo(host: str, port: int, **_: object) -> list[tuple]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, port)) for text in texts
        ]

    return getaddrinfo


def test_one_private_address_among_public_ones_is_enough_to_refuse(monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", answering("8.8.8.8", "10.0.0.1"))

    with pytest.raises(CallFailed, match=r"10\.0\.0\.1"):
        resolve("http://mixed.example/", Rules())


@pytest.mark.parametrize(
    ("rules", "url", "code"),
    [
        pytest.param(Rules(), "http://10.0.0.1/", "outbound.denied", id="by default"),
        pytest.param(Rules(allow_private=True), "http://10.0.0.1/", "", id="private allowed"),
        pytest.param(Rules(allow_private=True), "http://169.254.169.254/", "outbound.denied",
                     id="metadata even where private is allowed"),
        pytest.param(Rules(allow_private=True), "http://[64:ff9b::a9fe:a9fe]/",
                     "outbound.denied", id="metadata inside NAT64"),
        pytest.param(Rules(allow_hosts=frozenset({"10.0.0.1"})), "http://10.0.0.1/", "",
                     id="host allowed"),
        pytest.param(Rules(allow_hosts=frozenset({"10.0.0.1:81"})), "http://10.0.0.1/",
                     "outbound.denied", id="another port allowed"),
        pytest.param(Rules(allow_hosts=frozenset({"10.0.0.1:81"})), "http://10.0.0.1:81/",
                     "", id="this port allowed"),
        pytest.param(Rules(only_hosts=frozenset({"8.8.8.8"})), "http://1.1.1.1/",
                     "outbound.not_listed", id="not among the only hosts"),
        pytest.param(Rules(only_hosts=frozenset({"10.0.0.1"})), "http://10.0.0.1/",
                     "outbound.denied", id="listed and still private"),
    ],
)  # fmt: skip
def test_the_configuration_says_whom_else_a_skill_may_call(rules, url, code):
    if not code:
        assert resolve(url, rules).addresses
        return
    with pytest.raises(CallFailed) as caught:
        resolve(url, rules)
    assert caught.value.outcome.code == code


def test_a_name_is_resolved_once_and_the_connection_goes_to_what_was_checked(
    monkeypatch,
):
    asked = []

    def rebinding(host: str, port: int, **_: object) -> list[tuple]:
        asked.append(host)
        text = "127.0.0.1" if len(asked) == 1 else "127.0.0.2"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, port))]

    def answer(request, body) -> None:
        seen = {
            "host": request.headers["Host"],
            "at": request.connection.getsockname()[0],
        }
        reply(request, 200, json.dumps(seen).encode())

    with http_server(answer) as base:
        port = base.rpartition(":")[2]
        # Numbers are resolved again when a socket connects; only names are counted.
        real = socket.getaddrinfo
        monkeypatch.setattr(
            socket,
            "getaddrinfo",
            lambda host, *a, **k: (
                rebinding(host, *a, **k)
                if host == "rebind.example"
                else real(host, *a, **k)
            ),
        )
        rules = Rules(allow_hosts=frozenset({"rebind.example"}))
        got = send(Message("GET", f"http://rebind.example:{port}/"), rules)

    assert asked == ["rebind.example"]
    assert json.loads(got.content) == {
        "host": f"rebind.example:{port}",
        "at": "127.0.0.1",
    }


def redirecting(to: str, status: int = 302):
    def answer(request, body) -> None:
        if request.path == "/start":
            reply(request, status, Location=to)
        else:
            seen = {"method": request.command, "key": request.headers["X-Key"]}
            reply(request, 200, json.dumps({**seen, "size": len(body)}).encode())

    return answer


def rules_for(base: str) -> Rules:
    return Rules(allow_hosts=frozenset({base.removeprefix("http://")}))


def test_a_redirect_to_a_private_address_is_refused():
    with (
        http_server(redirecting("http://127.0.0.1:1/")) as base,
        pytest.raises(CallFailed) as caught,
    ):
        send(Message("GET", f"{base}/start", redirects=3), rules_for(base))

    assert caught.value.outcome.code == "outbound.denied"


@pytest.mark.parametrize(
    ("status", "method", "size"), [(302, "GET", 0), (303, "GET", 0), (307, "POST", 4)]
)
def test_a_redirect_is_followed_as_its_status_says(status, method, size):
    with http_server(redirecting("/end", status)) as base:
        message = Message("POST", f"{base}/start", content=b"four", redirects=1)
        got = send(message, rules_for(base))

    seen = json.loads(got.content)
    assert (seen["method"], seen["size"]) == (method, size)


def test_redirects_are_not_followed_unless_asked_for_and_not_for_ever():
    with http_server(redirecting("/start")) as base:
        got = send(Message("GET", f"{base}/start"), rules_for(base))
        with pytest.raises(CallFailed) as caught:
            send(Message("GET", f"{base}/start", redirects=3), rules_for(base))

    assert got.status == 302
    assert caught.value.outcome.code == "outbound.redirects"


def test_credentials_go_to_their_host_only():
    with http_server(redirecting("/end")) as base:
        port = base.rpartition(":")[2]
        keys = {"127.0.0.1": {"X-Key": "secret"}}
        with http_server(redirecting(f"http://localhost:{port}/end")) as first:
            rules = Rules(allow_private=True)
            message = Message("GET", f"{first}/start", redirects=1)
            got = send(message, rules, headers_for=lambda host: keys.get(host, {}))

    assert json.loads(got.content)["key"] is None


def test_proxies_of_the_environment_are_not_used(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")

    with http_server(redirecting("/end")) as base:
        got = send(Message("GET", f"{base}/end"), rules_for(base))

    assert got.status == 200


def test_a_body_is_cut_at_the_limit_and_said_to_be():
    with http_server(lambda request, body: reply(request, 200, b"x" * 5000)) as base:
        got = send(Message("GET", base, largest=1000), rules_for(base))

    assert (len(got.content), got.truncated) == (1000, True)


def test_nobody_there_is_told_from_no_answer():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(Unreachable):
        send(Message("GET", f"http://127.0.0.1:{port}/"), Rules(allow_private=True))

    def hang_up(request, body) -> None:
        request.connection.shutdown(socket.SHUT_RDWR)

    with http_server(hang_up) as base, pytest.raises(outbound.AnswerLost):
        send(Message("POST", base), rules_for(base))


def test_a_name_without_address_is_unreachable(monkeypatch):
    def nothing(*_: object, **__: object) -> list:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", nothing)

    with pytest.raises(Unreachable, match=r"gone\.example"):
        resolve("http://gone.example/", Rules())


def test_no_module_of_the_skills_speaks_http_by_another_way():
    sources = Path(outbound.__file__).parent.rglob("*.py")
    speaking = {
        path.name
        for path in sources
        for word in ("httpx2", "urllib.request", "http.client", "requests")
        if f"import {word}" in path.read_text()
    }

    assert speaking == {"outbound.py"}


def self_signed(name: str) -> bytes:
    """Return a key and a certificate for the name."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names = x509.SubjectAlternativeName([x509.DNSName(name)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), 1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = serialization.PrivateFormat.PKCS8
    return key.private_bytes(
        pem, private, serialization.NoEncryption()
    ) + made.public_bytes(pem)


def test_over_tls_the_name_is_what_is_proven_although_an_address_is_called(
    monkeypatch, tmp_path
):
    certificate = tmp_path / "pinned.pem"
    certificate.write_bytes(self_signed("pinned.example"))
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    outbound._tls.cache_clear()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    rules = Rules(allow_hosts=frozenset({"pinned.example", "other.example"}))
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *a, **k: real(
            "127.0.0.1" if "example" in str(host) else host, *a, **k
        ),
    )

    with http_server(redirecting("/end"), context) as base:
        port = base.rpartition(":")[2]
        got = send(Message("GET", f"https://pinned.example:{port}/end"), rules)
        with pytest.raises(Unreachable, match="certificate verify failed"):
            send(Message("GET", f"https://other.example:{port}/end"), rules)

    outbound._tls.cache_clear()
    assert got.status == 200


@pytest.mark.parametrize(
    ("url", "config", "code"),
    [
        ("http://127.0.0.1/", {}, "outbound.denied"),
        ("http://169.254.169.254/latest/meta-data", {}, "outbound.denied"),
        ("http://[::ffff:127.0.0.1]:8000/", {}, "outbound.denied"),
        ("http://name.invalid/", {"only_hosts": ["8.8.8.8"]}, "outbound.not_listed"),
        ("http://[", {}, "outbound.url"),
    ],
)
def test_a_dry_run_says_that_an_address_is_refused(url, config, code, tmp_path) -> None:
    bench = Bench(tmp_path, config)

    preview = bench.dry_run("http.request", {"url": url})

    assert preview.summary.startswith("Would fail: ")
    assert preview.changes == ()
    assert bench.check("http.request", {"url": url}) == [code]


@pytest.mark.parametrize(
    ("url", "config"),
    [
        ("http://127.0.0.1:8000/", {"allow_hosts": ["127.0.0.1:8000"]}),
        ("http://127.0.0.1/", {"allow_private": True}),
        ("http://name.invalid/", {}),
    ],
)
def test_a_dry_run_refuses_no_address_that_it_cannot_judge(
    url, config, tmp_path
) -> None:
    bench = Bench(tmp_path, config)

    assert bench.dry_run("http.request", {"url": url}).changes
    assert bench.check("http.request", {"url": url}) == []
