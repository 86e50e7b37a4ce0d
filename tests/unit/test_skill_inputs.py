"""Clauses about params that break an input schema: names and expectations, no values."""

import pytest

from orchestration.skills import installed
from orchestration.skills.domain.contract import FILES_SCHEMA, ActionContract
from orchestration.skills.execution import input_problems as problems


def action(**properties) -> ActionContract:
    schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "required": [name for name in properties if name != "optional"],
    }
    return ActionContract("act", "", "lab.act@1", schema, {})


@pytest.mark.parametrize(
    ("schema", "value", "clause"),
    [
        ({"type": "string"}, 5, "x must be text, not an integer"),
        ({"type": ["string", "null"]}, 5, "x must be text or null, not an integer"),
        ({"enum": ["a", "b"]}, "secret", 'x must be one of ["a", "b"]'),
        ({"const": 1}, "secret", "x must be 1"),
        ({"minLength": 3}, "s", "x must have at least 3 characters"),
        ({"pattern": "^a$"}, "secret", "x must match ^a$"),
        ({"minItems": 1}, [], "x must have at least 1 items"),
        ({"items": {"type": "integer"}}, ["secret"], "x.0 must be an integer, not text"),
        ({"required": ["a", "b"]}, {"a": 1}, "x must have b"),
        ({"properties": {"a": False}}, {"a": "secret"}, "x has a value that is not allowed"),
        ({"additionalProperties": False, "properties": {"a": {}}}, {"secret": 1},
         "x has an unknown property (known: a)"),
        ({"anyOf": [{"type": "integer"}, {"type": "array"}]}, "secret",
         "x must be a list or an integer"),
        (FILES_SCHEMA, "secret", "x must be a file or a list"),
        ({"uniqueItems": True}, ["secret", "secret"], "x must satisfy uniqueItems"),
        ({"$ref": "#/nowhere"}, "secret",
         "its input schema cannot be used (_WrappedReferencingError)"),
        ({"$ref": "https://example.com/schema"}, "secret",
         "its input schema cannot be used (_WrappedReferencingError)"),
    ],
)  # fmt: skip
def test_a_clause_names_the_parameter_and_what_is_expected(
    schema, value, clause
) -> None:
    assert problems(action(x=schema), {"x": value}) == [clause]


def test_missing_params_are_named_once() -> None:
    assert problems(action(a={}, b={}), {}) == ["params must have a, b"]


def test_a_reference_to_a_secret_is_left_to_the_worker() -> None:
    assert problems(action(x={"type": "string"}), {"x": {"$secret": "token"}}) == []


def test_a_number_as_url_does_not_reach_the_handler() -> None:
    request = installed.shipped("http").action("request")
    assert request is not None

    assert problems(request, {"url": 7}) == ["url must be text, not an integer"]
    assert problems(request, {"url": "https://example.com"}) == []
