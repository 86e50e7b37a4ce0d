"""Steps with blocks of text and comments around them are deleted and moved whole."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestration.plans.domain import source
from orchestration.plans.domain.editing import set_value
from orchestration.plans.domain.plan_text import PlanText
from orchestration.plans.domain.step_editing import (
    delete_step,
    move_step,
    rename_step,
)

SCRIPTS = """\
id: scripts
steps:
  - id: a
    params:
      script: |
        rm x
        # clean up
  # The second
  - id: b
    params:
      sql: >
        SELECT a 
      # of b
  # The third
  - id: c
    params: {x: 1}
"""  # noqa: W291


def _read(text: str) -> Any:
    parsed = source.parse(text)
    assert [each for each in parsed.problems if each.severity == "error"] == [], text
    return parsed.value


def test_lines_of_a_text_that_look_like_comments_stay_in_their_step() -> None:
    plan = PlanText(SCRIPTS)
    a, b, c = plan.steps
    assert _read(delete_step(plan, 1))["steps"] == [a, c]
    assert "# clean up\n  # The third\n" in delete_step(plan, 1)
    assert _read(move_step(plan, 1, 0))["steps"] == [b, a, c]
    moved = move_step(plan, 1, 2)
    assert _read(moved)["steps"] == [a, c, b]
    assert moved.endswith("SELECT a \n      # of b\n")


def test_deleting_the_last_step_leaves_the_line_before_it_as_it_is() -> None:
    text = SCRIPTS.replace("      # of b\n  # The third\n", "\n") + "outputs: {}\n"
    made = delete_step(PlanText(text), 2)
    assert made.endswith("SELECT a \noutputs: {}\n")
    assert _read(made)["steps"] == _read(text)["steps"][:2]
    kept = text.replace("sql: >", "sql: |+")
    assert _read(delete_step(PlanText(kept), 2))["steps"] == _read(kept)["steps"][:2]


def test_a_text_at_the_end_of_a_step_keeps_its_line_end() -> None:
    text = SCRIPTS.removesuffix("\n")
    a, b, c = _read(text)["steps"]
    assert _read(move_step(PlanText(text), 1, 2))["steps"] == [a, c, b]


@pytest.mark.parametrize("new", ["null", "true", "b"])
def test_a_new_id_is_written_only_where_the_step_is_named(new: str) -> None:
    text = """\
name: from $a.output.x
steps:
  - {id: a, name: a}
  - {id: c, dependsOn: [a, "a"], params: {then: a, else: [a], dependsOn: [a]}}
  - id: d
    kind: choose
    dependsOn:
      - a  # first
    choose:
      - {if: 'steps.a.output.x > 0 && mysteps.a.b', then: [a]}
      - else: a
    params: {x: '$$a.output $a.output $$$a.output ${a.output}', y: a}
"""
    made = _read(rename_step(PlanText(text), 0, new))
    assert made == {
        "name": "from $a.output.x",
        "steps": [
            {"id": new, "name": "a"},
            {
                "id": "c",
                "dependsOn": [new, new],
                "params": {"then": "a", "else": ["a"], "dependsOn": ["a"]},
            },
            {
                "id": "d",
                "kind": "choose",
                "dependsOn": [new],
                "choose": [
                    {
                        "if": f"steps.{new}.output.x > 0 && mysteps.a.b",
                        "then": [new],
                    },
                    {"else": new},
                ],
                "params": {
                    "x": f"$$a.output ${new}.output $$${new}.output ${{{new}.output}}",
                    "y": "a",
                },
            },
        ],
    }


def test_an_entry_without_a_value_gets_one() -> None:
    text = "steps:\n- {id: a, n}\n- {id: b, 'k':, m: }\n"
    for at, key in ((0, "n"), (1, "k"), (1, "m")):
        for value in ("x", ["q"]):
            made = _read(set_value(PlanText(text), ("steps", at, key), value))
            assert made["steps"][at][key] == value


_VALUES: Mapping[str, Any] = {
    "word": "text",
    "quoted": "'a # b'",
    "flow": "[1, {a: b}]",
    "literal": "|\n{pad}# no comment\n{pad}- id: no step \n{pad}  \n",
    "kept": "|+\n{pad}x\n\n\n",
    "folded": ">-\n{pad}one \n\n{pad}two\n\n",
    "lines": "\n{pad}- one\n{pad}# of the list\n{pad}- two",
    "closed": "[1,\n{pad}2]  # of the end",
}


@st.composite
def _plans(draw: st.DrawFn) -> str:
    column = " " * draw(st.sampled_from([0, 2]))
    lines = ["id: p", "steps:"]
    for number in range(draw(st.integers(2, 4))):
        lines += [f"{column}# above {number}"] * draw(st.integers(0, 2))
        if draw(st.integers(0, 4)) == 0:
            lines.append(f"{column}- {{id: s{number}, k: 'a'}}  # beside {number}")
        else:
            lines.append(f"{column}- id: s{number}")
            for key in draw(st.lists(st.sampled_from([*_VALUES]), unique=True)):
                value = _VALUES[key].replace("{pad}", column + " " * 6)
                lines.append(f"{column}  {key}: {value}".removesuffix("\n"))
                lines += [f"{column}  # in {number} {key}"] * draw(st.integers(0, 1))
        lines += [""] * draw(st.integers(0, 1))
    lines += draw(st.sampled_from([[], ["# end"], ["outputs: {a: 1}"]]))
    return "\n".join(lines) + "\n"


def _comments(text: str) -> list[str]:
    marks = (" above", " in ", " beside", " end")
    found = (line.partition("#")[2] for line in text.split("\n"))
    return sorted(each for each in found if each.startswith(marks))


@settings(max_examples=200, deadline=None)
@given(_plans(), st.data())
def test_any_step_is_deleted_and_moved_with_its_comments(
    text: str, data: st.DataObject
) -> None:
    plan, wanted = PlanText(text), _read(text)
    steps = list(plan.steps)
    at = data.draw(st.integers(1, len(steps) - 1))
    moved = move_step(plan, at, at - 1)
    changed = [*steps[: at - 1], steps[at], steps[at - 1], *steps[at + 1 :]]
    assert _read(moved) == {**wanted, "steps": changed}, moved
    assert _comments(moved) == _comments(text)
    assert "kept" in text or move_step(PlanText(moved), at, at - 1) == text
    for gone in (at, at - 1):
        made = delete_step(plan, gone)
        assert _read(made) == {**wanted, "steps": [*steps[:gone], *steps[gone + 1 :]]}
        left = [c for c in _comments(text) if c.split()[1:2] != [str(gone)]]
        assert _comments(made) == left


@pytest.mark.parametrize("at", [0, 1])
def test_a_kept_text_at_the_end_of_the_plan_stays(at: int) -> None:
    text = "steps:\n- id: a\n- id: b\n- id: c\n  x: |+\n    y\n\n\n"
    made = _read(delete_step(PlanText(text), at))["steps"]
    assert made[-1] == {"id": "c", "x": "y\n\n\n"}
