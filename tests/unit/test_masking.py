"""A secret does not get out, in none of the forms it is usually leaked in."""

import base64
import html
import json
import re
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execfabric.lib.masking import MASK, SHORTEST, Masker

SECRET = "s3cr3t/&key+\"with'quotes"

FORMS = [
    pytest.param(str, id="as it is"),
    pytest.param(lambda s: s.encode().hex(), id="hex"),
    pytest.param(lambda s: s.encode().hex().upper(), id="HEX"),
    pytest.param(lambda s: urllib.parse.quote(s, safe=""), id="in an address"),
    pytest.param(urllib.parse.quote_plus, id="in a form"),
    pytest.param(
        lambda s: re.sub("%..", lambda m: m[0].lower(), urllib.parse.quote_plus(s)),
        id="in a form, lower case",
    ),
    pytest.param(html.escape, id="in a page"),
    pytest.param(lambda s: json.dumps(s)[1:-1], id="in JSON"),
    pytest.param(lambda s: base64.b64encode(s.encode()).decode(), id="base64"),
    pytest.param(lambda s: base64.urlsafe_b64encode(s.encode()).decode(), id="url64"),
]


@pytest.mark.parametrize("form", FORMS)
def test_a_secret_is_masked_in_every_usual_form(form):
    text = f"before {form(SECRET)} after"

    masked = Masker([SECRET]).text(text)

    assert form(SECRET) not in masked
    assert MASK in masked
    assert masked.startswith("before ")
    assert masked.endswith(" after")


@given(
    st.binary(max_size=7),
    st.binary(max_size=7),
    st.text("abcdefgh123", min_size=8, max_size=24),
)
def test_base64_hides_no_secret_wherever_it_stands(before, after, secret):
    encoded = base64.b64encode(before + secret.encode() + after).decode()

    masked = Masker([secret]).text(encoded)

    assert MASK in masked


@given(st.text(max_size=200))
def test_text_without_the_secret_stays_as_it_is(text):
    if any(
        form in text.encode(errors="surrogatepass") for form in Masker([SECRET]).forms
    ):
        return
    assert Masker([SECRET]).text(text) == text


def test_keys_and_values_at_any_depth_are_masked_and_types_kept():
    value = {"a": [1, True, None, {"b": f"x{SECRET}"}], SECRET: 2.5}

    assert Masker([SECRET]).value(value) == {
        "a": [1, True, None, {"b": f"x{MASK}"}],
        MASK: 2.5,
    }


def test_of_two_secrets_the_longer_is_masked_whole():
    masker = Masker(["token-1", "token-1-and-more"])

    assert masker.text("token-1-and-more token-1") == f"{MASK} {MASK}"


def test_a_secret_too_short_to_tell_from_text_is_left_alone():
    assert Masker(["x" * (SHORTEST - 1)]).text("xxx") == "xxx"
    assert Masker([]).value({"a": "b"}) == {"a": "b"}


@given(
    st.lists(st.text("ab-/ü", min_size=4, max_size=9), min_size=1, max_size=3),
    st.lists(st.text("ab-/ü", max_size=9), max_size=6),
)
def test_a_stream_masks_as_if_it_came_in_one_piece(secrets, pieces):
    said = "".join(piece + secrets[0] for piece in pieces).encode()
    masker = Masker(secrets)
    whole = masker.content(said)

    for size in (1, 2, 3, 7):
        stream = masker.stream()
        chunks = [said[at : at + size] for at in range(0, len(said), size)]
        assert b"".join(map(stream.feed, chunks)) + stream.finish() == whole


def test_secrets_that_overlap_are_masked_to_the_last_character():
    masker = Masker(["first-second", "second-third"])

    assert masker.text("a first-second-third b") == f"a {MASK} b"


def test_a_secret_without_end_is_masked_in_bounded_memory():
    stream = Masker(["aaaa"]).stream()

    masked = b"".join(stream.feed(b"a" * 1000) for _ in range(100)) + stream.finish()

    assert masked == MASK.encode()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
def test_a_finder_sees_a_secret_wherever_the_chunks_are_cut(encoding):
    content = f"before {SECRET} after".encode(encoding)

    for cut in range(len(content)):
        finder = Masker([SECRET]).finder()
        assert finder.finds(content[:cut]) or finder.finds(content[cut:]), cut
    assert not Masker([SECRET]).finder().finds("another".encode(encoding))
