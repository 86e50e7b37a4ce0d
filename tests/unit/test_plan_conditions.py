"""Conditions: what they name, what is refused, and what an evaluation may take."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.plans.domain import cel, conditions
from orchestration.plans.domain.cel import CelInvalid
from orchestration.plans.domain.conditions import ConditionFailed, evaluate
from tests.unit.plans import HEAD, YIELD, check, places

PROJECT = Path(__file__).parents[2]
TYPED = """id: p
inputs:
  properties: {env: {type: string}, n: {type: integer}, f: {type: number}, l: {type: array},
               on: {type: boolean}, o: {type: object, properties: {x: {type: string}}}}
steps:
- {id: a-b, skill: lab, action: yield}
- {id: z, skill: lab, action: yield}
- id: c
  skill: lab
  action: yield
  dependsOn: [a-b]
  when: """


def problems(when: str) -> list[tuple[str, int, int]]:
    return places(check(f"{TYPED}{when}\n"))


@pytest.mark.parametrize(
    "when",
    [
        "steps.a_b.output.n > 10",
        "steps.a_b.output.n > 1.5 && inputs.f > 1",
        '"steps.a_b.state == \'succeeded\'"',
        "has(inputs.env) && inputs.env.startsWith('p')",
        "has(steps.a_b.output.n) || steps.a_b.output == null",
        "steps.a_b.files.table != null",
        "inputs.on",
        "size(inputs.l) > 1 && inputs.l[0] == 'x'",
        "run.id != ''",
        "inputs.env.matches('^prod')",
        '"inputs.n in [1, 2] ? true : inputs.on"',
    ],
)  # fmt: skip
def test_a_valid_condition_has_no_problem(when) -> None:
    assert problems(when) == []


@pytest.mark.parametrize(
    ("when", "code", "column"),
    [
        ("steps.nope.output.n > 1", "plan.reference_unknown", 9),
        ("'steps.nope.output.n > 1'", "plan.reference_unknown", 10),
        ("1 > 0 && steps.a_b.output.zz > 1", "plan.reference_unknown", 18),
        ("steps.a_b > 1", "plan.reference_unknown", 9),
        ("steps.a_b.outputs.n > 1", "plan.reference_unknown", 9),
        ("steps.z.output.n > 1", "plan.reference_not_ancestor", 9),
        ("steps.c.output.n > 1", "plan.self_reference", 9),
        ("inputs.nope == 1", "plan.reference_unknown", 9),
        ("inputs.o.y == ''", "", 9),
        ("run.name == 1", "plan.reference_unknown", 9),
        ("nope > 1", "plan.reference_unknown", 9),
        ("item > 1", "plan.reference_unknown", 9),
        ("inputs.env > 1", "plan.condition_invalid", 20),
        ("inputs.env", "plan.condition_invalid", 9),
        ("1 + 1", "plan.condition_invalid", 9),
        ("inputs.on &&", "plan.condition_invalid", 21),
        ("inputs.env.matches(inputs.env)", "plan.condition_invalid", 9),
        ("inputs.l.all(x, x + x > 1)", "plan.condition_invalid", 9),
        ("(((((((((((((((((((((((((((((((((((((1)))))))))))))))))))))))))))))))))))) > 0",
         "plan.condition_invalid", 9),
        ("inputs.n" + " + 1" * 20 + " > 0", "plan.condition_invalid", 82),
    ],
)  # fmt: skip
def test_an_invalid_condition_is_refused_at_its_place(when, code, column) -> None:
    assert problems(when) == ([(code, 12, column)] if code else [])


def test_a_condition_of_several_lines_has_the_place_inside() -> None:
    assert problems("|\n    inputs.on &&\n    inputs.nope > 1") == [
        ("plan.reference_unknown", 14, 5)
    ]
    assert problems(">\n    inputs.on &&\n    inputs.nope > 1") == [
        ("plan.reference_unknown", 12, 3)
    ]


def test_a_condition_too_long_to_read_is_refused() -> None:
    assert problems("'" + "true || " * 400 + "true'") == [("plan.wrong_type", 12, 3)]


def test_an_ambiguous_name_is_refused() -> None:
    text = HEAD + (
        "- {id: a-b, skill: lab, action: yield}\n"
        "- {id: a_b, skill: lab, action: yield}\n"
        "- {id: c, skill: lab, action: yield, dependsOn: [a-b, a_b], when: steps.a_b.state != ''}\n"
    )

    (problem,) = check(text)

    assert problem.code == "plan.condition_ambiguous"
    assert "can be a-b or a_b" in problem.message


CHOOSE = f"- {{{YIELD}}}\n- {{id: b, skill: lab, action: yield}}\n- id: r\n  kind: choose\n  choose:\n"


@pytest.mark.parametrize(
    ("rules", "code"),
    [
        ("[{if: 'true', then: [a]}, {else: [b]}]", ""),
        ("[{if: 'true', then: [a]}]", ""),
        ("[{else: [a]}, {if: 'true', then: [b]}]", "plan.choose_invalid"),
        ("[{else: [a]}, {else: [b]}]", "plan.choose_invalid"),
        ("[{if: 'true'}]", "plan.choose_invalid"),
        ("[{then: [a]}]", "plan.choose_invalid"),
        ("[{if: 'true', then: [a], else: [b]}]", "plan.choose_invalid"),
        ("[{if: 'true', then: [x]}]", "plan.unknown_step"),
        ("[{if: 'true', then: [r]}]", "plan.self_reference"),
        ("[{if: 'nope', then: [a]}]", "plan.reference_unknown"),
        ("[{if: 'steps.a.output.n > 1', then: [a]}]", "plan.reference_not_ancestor"),
        ("[{if: 'true', then: [a], when: x}]", "plan.unknown_key"),
        ("[]", "plan.missing_key"),
        ("x", "plan.wrong_type"),
    ],
)
def test_the_rules_of_a_choose_step_are_checked(rules, code) -> None:
    found = check(HEAD + CHOOSE.replace("choose:\n", f"choose: {rules}\n"))

    assert [one.code for one in found] == ([code] if code else [])


@pytest.mark.parametrize(
    ("more", "codes"),
    [
        ("  dependsOn: [a]", ["plan.cycle", "plan.cycle"]),
        ("  skill: lab", ["plan.unknown_key"]),
        ("  params: {}", ["plan.unknown_key"]),
        ("  approval: true", ["plan.unknown_key"]),
        ("  when: 'false'", []),
        ("- {id: q, kind: choose, choose: [{else: [a]}]}", ["plan.choose_repeated"]),
    ],
)
def test_a_choose_step_is_checked_with_its_surroundings(more, codes) -> None:
    text = HEAD + CHOOSE.replace("choose:\n", "choose: [{if: 'true', then: [a]}]\n")

    assert [one.code for one in check(f"{text}{more}\n")] == codes


@pytest.mark.parametrize(
    ("rule", "codes"),
    [
        ("{atLeast: 2}", []),
        ("{at_least: 1}", []),
        ("{atLeast: 3}", ["plan.join_unsatisfiable"]),
        ("{atLeast: 0}", ["plan.wrong_type"]),
        ("{atLeast: true}", ["plan.wrong_type"]),
        ("{atLeast: 1, at_least: 1}", ["plan.wrong_type"]),
        ("{}", ["plan.wrong_type"]),
        ("[1]", ["plan.wrong_type"]),
        ("some", ["plan.wrong_value"]),
    ],
)
def test_a_counted_join_is_checked(rule, codes) -> None:
    text = HEAD + (
        f"- {{{YIELD}}}\n- {{id: b, skill: lab, action: yield}}\n"
        f"- {{id: c, skill: lab, action: yield, dependsOn: [a, b], triggerRule: {rule}}}\n"
    )

    assert [one.code for one in check(text)] == codes


B = "{id: b, skill: lab, action: yield}"
W = "{id: w, skill: lab, action: yield, when: '1 > 0'}"
R = "{id: r, kind: choose, choose: [{if: '1 > 0', then: [x]}, {else: [y]}]}"
HALF = "{id: r, kind: choose, choose: [{if: '1 > 0', then: [x]}]}"
X, Y = "{id: x, skill: lab, action: yield}", "{id: y, skill: lab, action: yield}"


def uses(name: str, after: str, more: str = "") -> str:
    return (
        f"{{id: j{len(after)}, skill: lab, action: ask, dependsOn: [{after}],"
        f" params: {{prompt: ${name}.output}}{more}}}"
    )


@pytest.mark.parametrize(
    ("steps", "absent"),
    [
        pytest.param([W, uses("w", "w")], False, id="alone"),
        pytest.param([W, B, uses("w", "w, b")], True, id="skipped by its condition"),
        pytest.param([W, B, uses("b", "w, b")], False, id="the other one"),
        pytest.param([HALF, X, B, uses("x", "x, b")], True, id="not chosen"),
        pytest.param([HALF, X, uses("x", "x")], False, id="the only chosen one"),
        pytest.param([HALF, X, uses("r", "x")], False, id="what chose it"),
        pytest.param([W, "{id: v, skill: lab, action: yield, dependsOn: [w]}",
                      uses("v", "v, w")], False, id="skipped together"),
        pytest.param([W, "{id: v, skill: lab, action: yield, dependsOn: [w]}", B,
                      uses("v", "v, b")], True, id="skipped after another"),
        pytest.param([R, X, Y, "{id: k, skill: lab, action: yield, dependsOn: [x, y]}", B,
                      uses("k", "k, b")], False, id="one of them is always chosen"),
        pytest.param([HALF, X, Y, "{id: k, skill: lab, action: yield, dependsOn: [x]}", B,
                      uses("k", "k, b")], True, id="perhaps none is chosen"),
        pytest.param([W, B, uses("b", "w, b", ", triggerRule: {atLeast: 1}")], True,
                     id="one of two"),
        pytest.param([X, B, uses("b", "x, b", ", triggerRule: {atLeast: 2}")], False,
                     id="two of two"),
        pytest.param([W, uses("w", "w", ", triggerRule: all_done")], True, id="after all"),
    ],
)  # fmt: skip
def test_a_plain_reference_into_a_branch_that_may_be_skipped_is_refused(
    steps, absent
) -> None:
    found = check(HEAD + "".join(f"- {one}\n" for one in steps))

    assert [one.code for one in found] == ["plan.reference_may_be_absent"] * absent


@given(st.text(max_size=60))
def test_no_text_makes_reading_a_condition_raise(text) -> None:
    conditions.scan(text)
    conditions.flaw(text, {})


HOSTILE = {
    "sums": ("(" + " + ".join(["inputs.s"] * 16) + ") == ''", "[]", "'x' * 30000"),
    "patterns": (" && ".join(["!inputs.s.matches('((a{1,6}){1,6})b7')"] * 8), "[]", "'a' * 30000"),
    "equality": (" && ".join(["inputs.x == inputs.x"] * 60), "range(6000)", "''"),
    "membership": (" && ".join(["!('q' in inputs.x)"] * 60), "range(6000)", "''"),
    "needles": ("inputs.s.contains(inputs.s + 'y')", "[]", "'x' * 30000"),
    "texts": (" || ".join(["inputs.s == 'q'"] * 100), "[]", "'x' * 30000"),
    "too large": ("inputs.s == 'q'", "[]", "'x' * 120000"),
}  # fmt: skip
PROGRAM = """
import resource, sys
from orchestration.plans.domain.conditions import ConditionFailed, evaluate
values = {{"x": [*{x}], "s": {s}}}
evaluate("inputs.s == ''", lambda name: values | {{"s": ""}})
before = resource.getrusage(resource.RUSAGE_SELF)
try:
    evaluate({source!r}, lambda name: values)
except ConditionFailed:
    pass
after = resource.getrusage(resource.RUSAGE_SELF)
print(after.ru_utime - before.ru_utime, after.ru_maxrss - before.ru_maxrss)
"""


def _bounded() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
    resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30))


@pytest.mark.parametrize(
    "source",
    [
        "inputs.x.all(a, a > 0)",
        "inputs.x . map ( a, a ) == []",
        "1.all(a, a > 0)",
        "[1].exists(i, i == 1)",
        '"""\\""" """ == "" || [1].all(i, i + 1 == 2) // """',
        "'a' 'b' == ''",
        'r"a" == ""',
        '"a\\"b" == \'\'',
        "true // all",
        ".inputs.x == 1",
        "inputs.x == `a`",
        "inputs.s.matches(inputs.s)",
        "inputs.s.matches('(')",
        "inputs.s.matches('((a{1,30}){1,30})b')",
        " && ".join(["inputs.s.contains('a')"] * 9),
        " + ".join(["1"] * 18) + " == 1",
    ],
)
def test_what_could_take_unbounded_time_is_no_condition(source) -> None:
    wrong = conditions.flaw(source, {})

    assert wrong is not None
    assert wrong.code == "plan.condition_invalid"
    with pytest.raises(ConditionFailed):
        evaluate(source, lambda name: {"x": [1], "s": "a"})


def test_a_message_of_the_library_can_be_stored() -> None:
    with pytest.raises(CelInvalid) as caught:
        cel.compiled("\0", ())

    assert "\0" not in caught.value.message


@pytest.mark.parametrize("name", HOSTILE)
def test_an_evaluation_takes_bounded_time_and_memory(name) -> None:
    source, x, s = HOSTILE[name]
    assert conditions.flaw(source, {}) is None

    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(source=source, x=x, s=s)],
        cwd=PROJECT, preexec_fn=_bounded, capture_output=True, text=True, check=True,
    )  # fmt: skip

    seconds, kilobytes = map(float, ended.stdout.split())
    assert seconds < 1.0
    assert kilobytes < 64 * 1024


@pytest.mark.parametrize(
    ("source", "answer"),
    [
        ("inputs.n > 10 && inputs.s.startsWith('a')", True),
        ("2 in inputs.l", True),
        ("!has(inputs.nope)", True),
        ("inputs.none == null", True),
        ("inputs.n == 11.0", True),
        ("inputs.o.x.y == 'deep' && !has(inputs.o.z)", True),
        ("inputs['n'] == 11", True),
        ("inputs.n < 0", False),
    ],
)
def test_a_condition_is_evaluated_on_what_it_names(source, answer) -> None:
    values = {"n": 11, "s": "abc", "l": [1, 2], "none": None, "o": {"x": {"y": "deep"}}}

    assert evaluate(source, lambda name: values) is answer


def test_a_value_that_is_not_named_does_not_count() -> None:
    values = {"n": 1, "large": "x" * 1_000_000}

    assert evaluate("inputs.n == 1", lambda name: values)
    with pytest.raises(ConditionFailed, match="too large"):
        evaluate("inputs.large == ''", lambda name: values)
