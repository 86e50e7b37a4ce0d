"""References in joins: to parents that may have no output, and to the first one."""

import pytest

from tests.unit.plans import HEAD, YIELD, check, places

B = "id: b, skill: lab, action: yield"
C = "id: c, skill: lab, action: ask"
JOIN = "id: j, skill: lab, action: ask, dependsOn: [a, b]"
ONE, DONE = ", triggerRule: one_success", ", triggerRule: all_done"


def problems(*steps: str):
    return check(HEAD + "".join(f"- {{{s}}}\n" for s in steps))


def codes(*steps: str) -> list[str]:
    return [one.code for one in problems(*steps)]


def prompt(reference: str) -> str:
    return f", params: {{prompt: {reference}}}"


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([YIELD, B, JOIN + ONE + prompt("$a.output")], id="one of two"),
        pytest.param([YIELD, B, JOIN + DONE + prompt("$a.output")], id="all ended"),
        pytest.param(
            [
                YIELD,
                "id: j, skill: lab, action: ask, dependsOn: [a]" + DONE
                + prompt("$a.output"),
            ],
            id="one that ended",
        ),
        pytest.param(
            [YIELD, B, JOIN + ONE + prompt("x"),
             "id: d, skill: lab, action: ask, dependsOn: [j]" + prompt("$a.output")],
            id="behind a join",
        ),
        pytest.param([YIELD, B, JOIN + ONE + prompt("'so $a.output?'")], id="in text"),
        pytest.param([YIELD, B, JOIN + ONE + prompt("$a.files.table")], id="a file"),
        pytest.param(
            [YIELD, B, JOIN + ONE + prompt("x") + ", approval: {reason: $a.output.text}"],
            id="in a reason",
        ),
    ],
)  # fmt: skip
def test_a_plain_reference_to_an_absent_output_is_refused(steps) -> None:
    assert codes(*steps) == ["plan.reference_may_be_absent"]


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([YIELD, B, JOIN + ONE + prompt("$a.output?")], id="optional"),
        pytest.param([YIELD, B, JOIN + DONE + prompt("$a.output.n?")], id="a field"),
        pytest.param([YIELD, B, JOIN + ONE + prompt("'so ${a.output?}'")], id="in text"),
        pytest.param([YIELD, B, JOIN + ONE + prompt("$first.output.n")], id="first"),
        pytest.param([YIELD, B, JOIN + ONE + prompt("$first.files.table")], id="its file"),
        pytest.param([YIELD, B, JOIN + ONE + prompt("$first.id")], id="its id"),
        pytest.param([YIELD, B, JOIN + prompt("$a.output")], id="all succeeded"),
        pytest.param(
            ["id: j, skill: lab, action: ask, dependsOn: [a]" + ONE + prompt("$a.output"),
             YIELD],
            id="the only one",
        ),
        pytest.param(
            ["id: r, skill: lab, action: yield", YIELD + ", dependsOn: [r]",
             B + ", dependsOn: [r]", JOIN + ONE + prompt("$r.output")],
            id="an ancestor of both",
        ),
        pytest.param(
            ["id: first, skill: lab, action: yield",
             "id: d, skill: lab, action: ask, dependsOn: [first]" + prompt("$first.output")],
            id="a step called first",
        ),
    ],
)  # fmt: skip
def test_a_certain_or_optional_reference_is_valid(steps) -> None:
    assert codes(*steps) == []


def test_the_error_suggests_an_optional_reference() -> None:
    found = problems(YIELD, B, JOIN + ONE + prompt("$a.output.n"))

    assert places(found) == [("plan.reference_may_be_absent", 5, 90)]
    assert found[0].message == (
        "$a.output.n: a may not have succeeded when j starts, so it may have no output."
        " Write $a.output.n? to get null instead, or $first for the dependency that"
        " succeeded first."
    )


def test_the_error_suggests_braces_inside_text() -> None:
    found = problems(YIELD, B, JOIN + DONE + prompt("'so $a.output.n'"))

    assert "Write ${a.output.n?} to get null instead." in found[0].message


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        pytest.param([YIELD, B, JOIN + prompt("$first.output")],
                     "plan.reference_unknown", id="no such join"),
        pytest.param([YIELD, B, JOIN + DONE + prompt("$first.output")],
                     "plan.reference_unknown", id="no such join either"),
        pytest.param([YIELD, C + prompt("x"),
                      "id: j, skill: lab, action: ask, dependsOn: [a, c]" + ONE
                      + prompt("$first.output.n")],
                     "", id="a field that a parent may have"),
        pytest.param([YIELD, B, JOIN + ONE + prompt("$first.output.zz")],
                     "plan.reference_unknown", id="a field that a parent never has"),
        pytest.param([YIELD, B, JOIN + ONE + prompt("$first")],
                     "plan.reference_unknown", id="neither output nor files"),
        pytest.param([YIELD, B, JOIN + ONE + ", params: {prompt: x, severity: $first.output.n}"],
                     "plan.type_mismatch", id="a type that does not fit"),
        pytest.param([YIELD, ("id: b, skill: lab, action: yield, dependsOn: [a],"
                      " params: {rows: $a.output.rows?}")],
                     "plan.reference_may_be_null", id="null does not fit"),
    ],
)  # fmt: skip
def test_invalid_optional_and_first_references_are_refused(steps, code) -> None:
    assert codes(*steps) == ([code] if code else [])


def test_an_optional_input_gives_no_warning() -> None:
    text = "id: p\ninputs: {properties: {x: {type: string}}}\nsteps:\n"
    step = "- {id: a, skill: lab, action: ask, params: {prompt: $inputs.x%s}}\n"

    assert [one.code for one in check(text + step % "")] == ["plan.reference_optional"]
    assert check(text + step % "?") == []
