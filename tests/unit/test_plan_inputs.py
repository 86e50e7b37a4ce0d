"""A stranger's schema and inputs are bounded before anything is tried on them."""

import json
import time

import pytest

from orchestration.plans.domain import inputs as given


def of(schema):
    """Return the schema of inputs with one input `a` of this schema."""
    return {"properties": {"a": schema}}


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        pytest.param(of({"uniqueItems": True}), ("properties", "a", "uniqueItems"), id="all with all"),
        pytest.param({"unevaluatedProperties": False}, ("unevaluatedProperties",), id="at every level again"),
        pytest.param({"enum": [*range(2_000)]}, (), id="too large"),
        pytest.param({"allOf": [{"pattern": "a"}] * 51}, (), id="too many patterns"),
        pytest.param(
            of({"properties": {"properties": {"pattern": "a(?=b)"}}}),
            ("properties", "a", "properties", "properties", "pattern"),
            id="under an input that is called like a keyword",
        ),
        pytest.param(
            {"not": {"patternProperties": {"a(?=b)": {}}}},
            ("not", "patternProperties", "a(?=b)"),
            id="pattern of names",
        ),
        pytest.param(of({"pattern": "a(?=b)"}), ("properties", "a", "pattern"), id="looking ahead"),
        pytest.param(of({"pattern": r"(a)\1"}), ("properties", "a", "pattern"), id="looking back"),
        pytest.param(of({"pattern": "a" * 201}), ("properties", "a", "pattern"), id="long"),
    ],
)  # fmt: skip
def test_a_costly_schema_is_refused_at_its_position(schema, place) -> None:
    assert [way for way, _ in given.unusable(schema)] == [place]


@pytest.mark.parametrize(
    ("schema", "inputs", "said"),
    [
        pytest.param(of({}), {"a": json.loads("[" * 900 + "]" * 900)}, "nested", id="deep"),
        pytest.param(of({}), {"a": float("nan")}, "Cannot store", id="no number"),
        pytest.param(of({}), {"a": "x" * 300_000}, "bytes", id="large"),
        pytest.param(
            of({"items": {"enum": [*range(500)]}}), {"a": [9] * 5_000}, "too many parts", id="many"
        ),
        pytest.param(
            of({"items": {"pattern": "(a?){1000}b"}}), {"a": ["a" * 1000] * 200}, "too much text",
            id="much text",
        ),
        pytest.param(of({}), {"a": [{"$file": {}}]}, "A file", id="forged file"),
    ],
)  # fmt: skip
def test_too_large_inputs_are_refused(schema, inputs, said) -> None:
    assert list(given.unusable(schema)) == []

    assert [said in message for _, message in given.wrong(schema, inputs)] == [True]


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+$", "^(a|a)*$", "(x*)*y", "((a+)b?)+!", "a*a*a*a*b", "(x?){40}x{40}[yz]",
        r"(\w\w?){60}!", "(?:a?a?){20}c", r"\w{2,}([ab]){2,}!", "((a|b)*?(a|b){0,40}){0,20}!",
    ],
)  # fmt: skip
def test_a_pattern_that_makes_backtracking_explode_is_matched_in_time(pattern) -> None:
    schema = of({"items": {"pattern": pattern}})
    assert list(given.unusable(schema)) == []
    before = time.process_time()

    messages = given.wrong(schema, {"a": ["ab" * 128, "a" * 1_000, "x" * 1_000 + "é"]})

    assert messages
    assert time.process_time() - before < 5


@pytest.mark.parametrize(
    ("schema", "inputs", "said"),
    [
        pytest.param(
            {"required": ["minimum"]}, {}, "Missing input 'minimum'.", id="missing"
        ),
        pytest.param(
            of({"required": ["town"]}), {"a": {}}, "Input 'a': missing 'town'.", id="missing inside"
        ),
        pytest.param(
            of({"type": "integer"}), {"a": "x"}, "Input 'a': 'x' is not of type 'integer'.",
            id="wrong type",
        ),
        pytest.param(
            of({"items": {"minimum": 3}}), {"a": [4, 2]},
            "Input 'a.1': 2 is less than the minimum of 3.", id="inside a list",
        ),
        pytest.param(
            {"minProperties": 1}, {}, "Inputs: {} should be non-empty.", id="all together"
        ),
    ],
)  # fmt: skip
def test_an_error_names_the_input(schema, inputs, said) -> None:
    assert [message for _, message in given.wrong(schema, inputs)] == [said]


def test_at_most_a_hundred_errors_are_reported() -> None:
    schema = of({"items": {"type": "string"}})

    assert len(given.wrong(schema, {"a": [1] * 500})) == 100
