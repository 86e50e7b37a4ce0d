"""From text to values with places: what is read, and what is refused where."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.plans.domain.source import MAX_BYTES, MAX_YAML_BYTES, parse
from orchestration.plans.domain.tokens import yaml_tokens
from tests.unit.plans import places

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(-1e15, 1e15)
    | st.text()
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=20,
)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("NO", "NO"),
        ("on", "on"),
        ("yes", "yes"),
        ("true", True),
        ("False", False),
        ("tRue", "tRue"),
        ("~", None),
        ("null", None),
        ("1e2", 100.0),
        ("1_000", "1_000"),
        ("0x1F", 31),
        ("0o17", 15),
        ("0b11", "0b11"),
        ("+7", 7),
        (".5", 0.5),
        ("2024-01-31", "2024-01-31"),
        ("12:30:45", "12:30:45"),
        ("'12'", "12"),
        ('"\\u00e9"', "é"),
        ('"\\U0001f600"', "😀"),
        ("http://a:1/b?c", "http://a:1/b?c"),
        ("=", "="),
        ("<<", "<<"),
    ],
)
def test_scalars_follow_the_core_schema_of_yaml_1_2(written, meant) -> None:
    parsed = parse(f"a: {written}")

    assert parsed.problems == ()
    assert parsed.value == {"a": meant}
    assert type(parsed.value["a"]) is type(meant)


def test_leading_zeros_are_lost_with_a_warning() -> None:
    parsed = parse("month: 012")

    assert parsed.value == {"month": 12}
    assert places(parsed.problems) == [("plan.leading_zero", 1, 8)]
    assert parsed.problems[0].severity == "warning"


@pytest.mark.parametrize(
    ("text", "code", "line", "column"),
    [
        pytest.param("", "plan.not_yaml", 1, 1, id="empty"),
        pytest.param("# only\n", "plan.not_yaml", 1, 1, id="only a comment"),
        pytest.param("a: b: c", "plan.not_yaml", 1, 5, id="colon in plain text"),
        pytest.param("a:\n\tb: 1", "plan.not_yaml", 2, 1, id="tab"),
        pytest.param("a: [1,\nb", "plan.not_yaml", 2, 2, id="list left open"),
        pytest.param("a: 'x", "plan.not_yaml", 1, 6, id="quote left open"),
        pytest.param("a: 1\n---\nb: 2", "plan.not_yaml", 2, 1, id="two documents"),
        pytest.param("%YAML 1.1\n---\na: 1", "plan.not_yaml", 1, 1, id="old version"),
        pytest.param("a: !!binary x", "plan.not_yaml", 1, 4, id="tag"),
        pytest.param("? [a]\n: b", "plan.not_yaml", 1, 3, id="list as key"),
        pytest.param("a: &x 1\nb: *x", "plan.alias", 1, 4, id="anchor"),
        pytest.param("a: 1\nb: *x", "plan.alias", 2, 4, id="alias"),
        pytest.param("a: 1\na: 2", "plan.duplicate_key", 2, 1, id="key twice"),
        pytest.param('{"a": 1,\n "a": 2}', "plan.duplicate_key", 2, 2, id="in JSON"),
        pytest.param("1: x", "plan.wrong_type", 1, 1, id="number as key"),
        pytest.param("true: x", "plan.wrong_type", 1, 1, id="boolean as key"),
        pytest.param(
            "a: 9007199254740992", "plan.number_out_of_range", 1, 4, id="2**53"
        ),
        pytest.param("a: 1e20", "plan.number_out_of_range", 1, 4, id="large float"),
        pytest.param("a: .nan", "plan.number_out_of_range", 1, 4, id="not a number"),
        pytest.param("a: -.inf", "plan.number_out_of_range", 1, 4, id="infinity"),
        pytest.param("a: " + "9" * 5000, "plan.number_out_of_range", 1, 4, id="digits"),
        pytest.param("a: \0", "plan.not_text", 1, 4, id="NUL"),
        pytest.param("a: 1\nb: \x1b[0m", "plan.not_text", 2, 4, id="escape"),
        pytest.param("a: \ud800", "plan.not_text", 1, 4, id="lone surrogate"),
        pytest.param('a: "\\ud83d\\ude00"', "plan.not_yaml", 1, 7, id="half by half"),
        pytest.param('{"a": "\\ud800"}', "plan.not_text", 1, 7, id="half in JSON"),
        pytest.param("a: x\nb: y\u2028z", "plan.not_text", 2, 5, id="old line end"),
        pytest.param("# \x85\na: 1", "plan.not_text", 1, 3, id="old, in a comment"),
        pytest.param("a: *", "plan.not_yaml", 1, 5, id="half an alias"),
        pytest.param("%TAG ! x:\n---\na: 1", "plan.not_yaml", 1, 1, id="tag line"),
        pytest.param('a: "\\0"', "plan.not_text", 1, 4, id="escaped NUL"),
        pytest.param('{"a": "\\u0000"}', "plan.not_text", 1, 7, id="NUL in JSON"),
        pytest.param('a: "\\e[1m"', "plan.hidden_character", 1, 4, id="escaped escape"),
        pytest.param('a: "\\U99999999"', "plan.not_yaml", 1, 7, id="no such character"),
        pytest.param(b"a: 1\nb: \xff", "plan.not_text", 2, 4, id="not UTF-8"),
        pytest.param("a: e\u0301", "plan.not_normal_text", 1, 4, id="not NFC"),
        pytest.param("a: \u202etxt", "plan.hidden_character", 1, 4, id="invisible"),
    ],
)
def test_unreadable_text_is_reported_with_its_position(
    text, code, line, column
) -> None:
    assert places(parse(text).problems) == [(code, line, column)]


def test_a_duplicate_key_keeps_its_first_value() -> None:
    assert parse("a: 1\na: {b: 2}\nc: 3").value == {"a": 1, "c": 3}


def test_json_is_read_with_tabs_long_keys_and_positions() -> None:
    key = "k" * 5000

    parsed = parse(f'{{\n\t"{key}"\n: [1, {{"b": "x"}}]}}')

    assert parsed.problems == ()
    assert parsed.value == {key: [1, {"b": "x"}]}
    assert parsed.positions[key, 1, "b"] == (3, 8)


def test_the_position_of_an_entry_is_that_of_its_key() -> None:
    positions = parse("a:\n  - b: 1\n    c:  2\n").positions

    assert positions["a",] == (1, 1)
    assert positions["a", 0] == (2, 5)
    assert positions["a", 0, "c"] == (3, 5)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        pytest.param("x" * 10_000_000, "plan.too_large", id="10 MB"),
        pytest.param(b"\xff" * 10_000_000, "plan.too_large", id="10 MB of bytes"),
        pytest.param("é" * (MAX_BYTES // 2 + 1), "plan.too_large", id="in bytes"),
        pytest.param("#" * (MAX_YAML_BYTES + 1), "plan.too_large", id="YAML"),
        pytest.param("{" + " " * MAX_YAML_BYTES, "plan.too_large", id="not quite JSON"),
        pytest.param("- " * 1000 + "a", "plan.too_deep", id="lists"),
        pytest.param("[" * 1000 + "]" * 1000, "plan.too_deep", id="flow lists"),
        pytest.param('{"a":' * 1000 + "1" + "}" * 1000, "plan.too_deep", id="JSON"),
        pytest.param("[" * MAX_BYTES, "plan.too_deep", id="nothing but brackets"),
        pytest.param("{a: " * 1000, "plan.too_deep", id="flow objects"),
        pytest.param(
            "".join(f"{' ' * depth}a:\n" for depth in range(1000)),
            "plan.too_deep",
            id="block objects",
        ),
        pytest.param(
            "a: &a [x, x]\n"
            + "".join(
                f"{b}: &{b} [*{a}, *{a}]\n"
                for a, b in zip("abcdefgh", "bcdefghi", strict=False)
            ),
            "plan.alias",
            id="billion laughs",
        ),
    ],
)
def test_too_large_documents_are_refused_early(text, code) -> None:
    before = time.process_time()

    problems = parse(text).problems

    assert [problem.code for problem in problems] == [code]
    assert time.process_time() - before < 1


def test_too_many_small_values_are_refused() -> None:
    problems = parse("[" + "1," * 300_000 + "1]").problems

    assert [problem.code for problem in problems] == ["plan.too_large"]


def test_ten_thousand_steps_fit_and_are_read_in_time() -> None:
    step = {
        "name": "Make the branch",
        "skill": "git-operations",
        "action": "create-branch",
        "dependsOn": ["s9999"],
        "params": {"name": "feature/x", "from": "main"},
        "rollback": {"action": "delete-branch"},
    }
    steps = [{"id": f"s{number}", **step} for number in range(10_000)]
    before = time.process_time()

    parsed = parse(json.dumps({"plan": {"id": "a", "steps": steps}}, indent=1))

    assert time.process_time() - before < 4
    assert parsed.problems == ()
    assert len(parsed.value["plan"]["steps"]) == 10_000


def test_a_long_yaml_is_read_in_time() -> None:
    text = "steps:\n" + "".join(
        f"- id: s{number}\n  skill: git-operations\n  action: create-branch\n"
        f"  params: {{name: 'feature/{number}', from: \"main\"}}\n"
        for number in range(9_000)
    )
    before = time.process_time()

    parsed = parse(text)

    assert len(text) > 0.9 * MAX_YAML_BYTES
    assert time.process_time() - before < 3
    assert parsed.positions["steps", 8_999, "params"] == (36_001, 3)


def test_fifty_levels_are_read() -> None:
    assert parse("[" * 50 + "]" * 50).problems == ()


@given(VALUES)
@settings(max_examples=150, deadline=None)
def test_written_json_is_read_back(value) -> None:
    parsed = parse(json.dumps({"a": value}, ensure_ascii=False, indent=1))

    if all(problem.severity == "warning" for problem in parsed.problems):
        assert parsed.value == {"a": value}
    else:
        assert {problem.code for problem in parsed.problems} <= {"plan.not_text"}


@given(
    st.text(alphabet=st.sampled_from("ab:-[]{},'\"#&*!|>%@\\ \n\t0.?~"), max_size=60)
)
@settings(max_examples=400, deadline=None)
def test_no_text_raises(text) -> None:
    parsed = parse(text)

    assert parsed.problems or parsed.positions


@given(st.binary(max_size=60))
@settings(max_examples=200, deadline=None)
def test_no_bytes_raise(body) -> None:
    parsed = parse(body)

    assert parsed.problems or parsed.positions


def test_yaml_and_json_readers_agree_on_json() -> None:
    text = '{"a": [1, -2.5e3, true, null, "x\\ny"], "b": {}}'

    by_yaml = [(one.kind, one.text, one.is_plain) for one in yaml_tokens(text)]

    assert parse(text).value == {"a": [1, -2500.0, True, None, "x\ny"], "b": {}}
    assert by_yaml[1] == ("scalar", "a", False)
    assert by_yaml[-1][0] == "}"
