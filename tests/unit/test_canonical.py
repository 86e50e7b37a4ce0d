"""One value, one byte string: the RFC's own examples, and the traps around it."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from execfabric.lib import canonical
from execfabric.lib.canonical import LARGEST_SAFE_INTEGER, MAX_DEPTH, NotCanonical

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-LARGEST_SAFE_INTEGER, LARGEST_SAFE_INTEGER)
    | st.floats(-LARGEST_SAFE_INTEGER, LARGEST_SAFE_INTEGER)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abé€𐀀"), inner),
    max_leaves=20,
)


def test_the_example_of_the_rfc_comes_out_as_the_rfc_has_it():
    value = {
        "numbers": [
            333333333.33333329,
            1e30,
            4.50,
            2e-3,
            0.000000000000000000000000001,
        ],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
        "literals": [None, True, False],
    }

    assert (
        canonical.dumps(value)
        == (
            '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,'
            '1e-27],"string":"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
        ).encode()
    )


@pytest.mark.parametrize("value", [1e16, [-1e300], {"a": {"b": 2**53}}, math.inf])
def test_a_number_that_the_database_changes_is_refused(value):
    with pytest.raises(NotCanonical):
        canonical.check_numbers(value)


def test_numbers_up_to_the_largest_safe_integer_are_allowed():
    largest = LARGEST_SAFE_INTEGER
    canonical.check_numbers([largest, -largest, float(largest), 1e-300, True, "1e16"])


def test_keys_are_ordered_by_utf_16_units():
    value = {"\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\U0001f600": 5, "\u0080": 6}

    ordered = list(json.loads(canonical.dumps(value)))

    assert ordered == ["\r", "1", "\u0080", "\u20ac", "\U0001f600", "\ufb33"]


@given(VALUES)
def test_what_is_written_is_read_back_and_written_the_same(value):
    body = canonical.dumps(value)

    assert canonical.dumps(canonical.loads(body)) == body


@given(st.dictionaries(st.text("abc", max_size=3), st.integers(0, 9)))
def test_the_order_of_keys_makes_no_difference(value):
    turned = dict(reversed(value.items()))

    assert canonical.digest_of("d", turned) == canonical.digest_of("d", value)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(math.nan, id="not a number"),
        pytest.param(math.inf, id="infinity"),
        pytest.param(LARGEST_SAFE_INTEGER + 1, id="an integer that JSON readers round"),
        pytest.param({1: "x"}, id="a key that is no text"),
        pytest.param("\ud800", id="half a character"),
        pytest.param({"\ud800": 1}, id="half a character as key"),
        pytest.param(object(), id="no JSON at all"),
    ],
)
def test_a_value_without_canonical_form_is_refused(value):
    with pytest.raises(NotCanonical) as refused:
        canonical.dumps(value)

    assert refused.value.code == "canonical.no_form"


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1,"a":2}',
        b'{"x":{"a":1,"a":1}}',
        b"NaN",
        b"[Infinity]",
        b"-Infinity",
        b"",
        b"{",
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_text_that_is_not_strict_json_is_refused(text):
    with pytest.raises(NotCanonical, match="Cannot read the JSON"):
        canonical.loads(text)


def test_a_digest_serves_one_purpose_only():
    assert canonical.digest("a/v1", b"x") != canonical.digest("b/v1", b"x")
    assert canonical.digest("a", b"b\nc") != canonical.digest("a\nb", b"d\nc")


def nested(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


def test_depth_has_a_limit_and_looking_for_it_needs_no_stack():
    canonical.check_depth(nested(MAX_DEPTH))

    for depth in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(NotCanonical, match=r"too deeply \(max 100"):
            canonical.check_depth(nested(depth))
