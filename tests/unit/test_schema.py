"""Patterns of JSON Schema end where the text ends."""

import pytest

from execfabric.lib.schema import compiled, validator
from orchestration.plans.domain import inputs
from orchestration.skills.execution import schema_problems as problems
from tests.skill_calls import action


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        (r"^\d{4}$", "2024\n"),
        (r"^(a|b$)", "b\n"),
        (r"a$|b$", "b\n"),
        (r"(?!x$)^[a-z]+$", "y\n"),
    ],
)
def test_the_end_is_not_before_a_last_line_break(pattern, value):
    schema = {"type": "string", "pattern": pattern}

    assert not validator(schema).is_valid(value)
    assert validator(schema).is_valid(value.strip())


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        (r"^\$$", "$"),
        (r"^[$]$", "$"),
        (r"^[]$]$", "$"),
        (r"^[^$]$", "\n"),
        (r"^\\$", "\\"),
        (r"^[\]$]+$", "]$"),
        (r"^.$", "a"),
    ],
)
def test_a_dollar_sign_that_is_no_end_stays_one(pattern, value):
    assert compiled(pattern).search(value)


def test_names_of_properties_end_there_too():
    strict = {"patternProperties": {"^a$": {"type": "string"}}}
    closed = {**strict, "additionalProperties": False}
    typed = {**strict, "additionalProperties": {"type": "string"}}

    assert validator(strict).is_valid({"a\n": 1})
    assert not validator(strict).is_valid({"a": 1})
    assert not validator(closed).is_valid({"a\n": "x"})
    assert validator(closed).is_valid({"a": "x"})
    assert not validator(typed).is_valid({"a\n": 1})
    assert not validator({"propertyNames": {"pattern": "^a$"}}).is_valid({"a\n": 1})


def test_an_input_of_a_plan_ends_where_its_pattern_says():
    schema = {"type": "object", "properties": {"year": {"pattern": r"^\d{4}$"}}}

    assert inputs.wrong(schema, {"year": "2024"}) == []
    assert inputs.wrong(schema, {"year": "2024\n"})


@pytest.mark.parametrize(
    ("name", "param", "good"),
    [
        ("data.load", "table", "t1"),
        ("data.query", "name", "result"),
        ("jira-write.transition", "issue", "PROJ-1"),
        ("http.request", "name", "answer"),
        ("report.render", "name", "report"),
    ],
)
def test_a_param_of_a_skill_ends_where_its_pattern_says(name, param, good):
    schema = action(name).input_schema["properties"][param]

    assert problems(schema, good) == []
    assert problems(schema, good + "\n")


@pytest.mark.parametrize(
    ("name", "value", "is_valid"),
    [
        ("iri", "https://müller.example/ü?q=ä#ö", True),
        ("iri", "no scheme", False),
        ("iri", "/relative", False),
        ("iri-reference", "/größe", True),
        ("iri-reference", "a b", False),
        ("iri", "http://x/\ud800", False),
        ("iri-reference", "\ud800", False),
        ("uri", "https://example.com/ü", False),
    ],
)
def test_addresses_are_checked(name, value, is_valid) -> None:
    assert (problems({"format": name}, value) == []) is is_valid
