"""Standard Webhooks: signatures, times, and values of a body as inputs."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from orchestration.triggers.domain import webhooks
from orchestration.triggers.errors import (
    HookHeadersInvalid,
    HookSignatureInvalid,
    HookTimestampInvalid,
    MappingInvalid,
)

SECRET, OTHER = b"s" * 32, b"o" * 32
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
BODY = b'{"a": 1}'
# From the specification.
KNOWN_SECRET = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
KNOWN = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def headers(
    *, secret: bytes = SECRET, at: datetime = NOON, body: bytes = BODY
) -> dict[str, str]:
    """Return the headers of the official library."""
    sign = Webhook(secret).sign("msg-1", at, body.decode())
    return {
        "webhook-id": "msg-1",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": sign,
    }


def verify(sent: dict[str, str], *, body: bytes = BODY, at: datetime = NOON) -> None:
    webhooks.verify(webhooks.headers_of(sent), body, secrets=[OTHER, SECRET], at=at)


def test_the_example_of_the_specification_is_signed_alike() -> None:
    made = webhooks.signature(
        KNOWN_SECRET,
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "1614265330",
        b'{"test": 2432232314}',
    )

    assert f"v1,{base64.b64encode(made).decode()}" == KNOWN
    text = webhooks.secret_text(KNOWN_SECRET)
    assert text == "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def test_the_official_library_signs_what_we_accept() -> None:
    verify(headers())
    both = headers()
    both["webhook-signature"] = (
        f"v1a,zzz {headers(secret=b'x')['webhook-signature']} "
        + (both["webhook-signature"])
    )
    verify(both)


@pytest.mark.parametrize("minutes", [-5, 0, 5])
def test_a_request_of_the_last_or_next_five_minutes_is_accepted(minutes) -> None:
    verify(headers(), at=NOON + timedelta(minutes=minutes))


@pytest.mark.parametrize("seconds", [-301, 301, 86_400])
def test_an_older_or_a_later_request_is_refused(seconds) -> None:
    with pytest.raises(HookTimestampInvalid):
        verify(headers(), at=NOON + timedelta(seconds=seconds))


def test_another_body_id_time_or_secret_is_refused() -> None:
    good = headers()
    for changed in (
        good | {"webhook-id": "msg-2"},
        good | {"webhook-timestamp": str(int(good["webhook-timestamp"]) + 1)},
        headers(secret=b"x" * 32),
        good | {"webhook-signature": "v1," + base64.b64encode(b"x" * 32).decode()},
    ):
        with pytest.raises(HookSignatureInvalid):
            verify(changed)
    with pytest.raises(HookSignatureInvalid):
        verify(good, body=BODY + b" ")


@pytest.mark.parametrize(
    "changes",
    [
        {"webhook-id": ""},
        {"webhook-id": "x" * 201},
        {"webhook-id": "a b"},
        {"webhook-id": "a\0"},
        {"webhook-timestamp": ""},
        {"webhook-timestamp": "1e9"},
        {"webhook-timestamp": "-1"},
        {"webhook-timestamp": "9" * 12},
        {"webhook-signature": ""},
        {"webhook-signature": "v1"},
        {"webhook-signature": "v1a,AAAA"},
        {"webhook-signature": "v1,!!!"},
        {"webhook-signature": "v1,é"},
    ],
)
def test_malformed_headers_are_refused(changes) -> None:
    with pytest.raises(HookHeadersInvalid):
        webhooks.headers_of(headers() | changes)
    for name in headers():
        without = {key: value for key, value in headers().items() if key != name}
        with pytest.raises(HookHeadersInvalid):
            webhooks.headers_of(without)


@given(st.dictionaries(st.sampled_from(sorted(headers())), st.text()))
def test_no_header_raises_anything_else(sent) -> None:
    try:
        verify(sent)
    except (HookHeadersInvalid, HookSignatureInvalid, HookTimestampInvalid):
        return
    raise AssertionError


DOCUMENT = {
    "foo": ["bar", "baz"],
    "": 0,
    "a/b": 1,
    "c%d": 2,
    "m~n": 8,
    "deep": {"list": [{"x": None}]},
}


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        # The examples of RFC 6901.
        ("", DOCUMENT),
        ("/foo", ["bar", "baz"]),
        ("/foo/0", "bar"),
        ("/", 0),
        ("/a~1b", 1),
        ("/c%d", 2),
        ("/m~0n", 8),
        ("/deep/list/0/x", None),
    ],
)
def test_a_pointer_returns_the_value_of_the_body(pointer, value) -> None:
    webhooks.check_mapping({"x": pointer})

    assert webhooks.mapped({"x": pointer}, DOCUMENT) == {"x": value}


@pytest.mark.parametrize(
    "pointer", ["/none", "/foo/2", "/foo/-", "/foo/00", "/foo/x", "/foo/0/x", "/~01"]
)
def test_a_value_that_the_body_does_not_have_is_left_out(pointer) -> None:
    assert webhooks.mapped({"x": pointer}, DOCUMENT) == {}
    assert webhooks.mapped({"x": pointer}, 7) == {}


@pytest.mark.parametrize("pointer", ["foo", "/~2", "/a~", "$.foo", "/" + "x" * 500])
def test_an_invalid_pointer_is_refused(pointer) -> None:
    with pytest.raises(MappingInvalid, match="Invalid JSON Pointer"):
        webhooks.check_mapping({"x": pointer})
