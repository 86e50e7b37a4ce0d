"""Edits of a plan's text: the value is the wanted one, and the rest is as it was."""

import json
from copy import deepcopy
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestration.plans import examples
from orchestration.plans.domain import source, step_editing
from orchestration.plans.domain.editing import (
    PLAN_ORDER,
    STEP_ORDER,
    remove,
    set_source,
    set_value,
)
from orchestration.plans.domain.plan_text import EMPTY, NotEditable, PlanText

PLAN = """\
# The plan of the shop
plan:
  id: shop   # do not change
  inputs: {type: object, properties: {env: {type: string}}}
  steps:
    # Collect first.
    - id: collect
      skill: files
      action: collect
      params:
        pattern: 'x-*.csv'  # only these
        note: |
          two
          lines

    # Then publish.
    - {id: publish, skill: files, action: publish, dependsOn: [collect],
       params: {file: $collect.files.collected, to: 'a, b'}}

    - id: tell          # the last one
      skill: notify
      action: send
      when: 'steps.collect.output.count > 0 && inputs.env == "prod"'
      dependsOn:
        - collect
        # and
        - publish
      params: {text: "${collect.output.count} files, $collect.output.path."}
    # the end
"""
TEXTS = {
    "lines": PLAN,
    "angles": (Path(__file__).parent / "plans" / "angles.yaml").read_text(),
    "feature": (Path(__file__).parent / "plans" / "feature.yaml").read_text(),
    "json": (Path(__file__).parent / "plans" / "feature.json").read_text(),
    **{name: examples.text(name) for name in examples.titles()},
    "assemble": examples.text("assemble-service"),
}
VALUES = [
    "plain", "a: b # c", "[1, 2", "012", "null", "", " x ", "two\nlines\n", "two\nlines",
    "it's \"so\"", "$a.output.b?", "{x}", "- x", "\u2028", "ä€😀", "a\tb", "  lead\nin",
    5, -1.5, True, None, ["a", "b, c"], [], {}, {"k": ["v"], "m": {"n": "o: p"}},
    [{"if": "inputs.x == 1", "then": ["a"]}],
]  # fmt: skip


def _plan(text: str):
    parsed = source.parse(text)
    assert [p for p in parsed.problems if p.severity == "error"] == []
    return parsed.value.get("plan", parsed.value)


def _paths(value, path=()):
    items = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for key, item in items:
        yield (*path, key)
        yield from _paths(item, (*path, key))


def _container(value, path):
    for part in path[:-1]:
        value = value[part]
    return value


def _comments(text: str) -> list[str]:
    return [line.partition("#")[2] for line in text.splitlines() if " # " in line]


@pytest.mark.parametrize("name", TEXTS)
def test_every_value_of_a_plan_can_be_replaced_and_removed(name: str) -> None:
    text = TEXTS[name]
    before = PlanText(text)
    for number, path in enumerate(_paths(before.value)):
        for value in VALUES[number % 3 :: 3]:
            wanted = deepcopy(before.value)
            _container(wanted, path)[path[-1]] = value
            made = set_value(before, path, value)
            assert _plan(made) == wanted, (path, value, made)
        if isinstance(path[-1], str) and path != ("steps",):
            made = _plan(remove(before, path))
            wanted = deepcopy(before.value)
            if len(_container(wanted, path)) > 1:
                del _container(wanted, path)[path[-1]]
                assert made == wanted, path


@pytest.mark.parametrize("name", TEXTS)
def test_steps_are_added_moved_and_deleted(name: str) -> None:
    text, new = TEXTS[name], {"id": "new", "kind": "approval", "params": {"a": "b: c"}}
    before = PlanText(text)
    steps = list(before.steps)
    for at in range(len(steps) + 1):
        made = step_editing.insert_step(before, at, new)
        assert _plan(made)["steps"] == [*steps[:at], new, *steps[at:]], made
        assert step_editing.delete_step(PlanText(made), at) == text or name == "json"
    for at in range(len(steps)):
        assert (
            _plan(step_editing.delete_step(before, at))["steps"]
            == steps[:at] + steps[at + 1 :]
        )
        if at:
            moved = step_editing.move_step(before, at, at - 1)
            wanted = [*steps[: at - 1], steps[at], steps[at - 1], *steps[at + 1 :]]
            assert _plan(moved)["steps"] == wanted
            assert sorted(_comments(moved)) == sorted(_comments(text))
            assert step_editing.move_step(PlanText(moved), at, at - 1) == text
        snippet = before.snippet(("steps", at))
        assert source.parse(f"{snippet}\n").value == steps[at]
        assert step_editing.replace_step(before, at, snippet) == text or name == "json"


def test_an_edit_leaves_the_rest_of_the_text_as_it_is() -> None:
    plan = PlanText(PLAN)
    changes = [
        (
            set_value(plan, ("steps", 0, "params", "pattern"), "y-*.csv"),
            "pattern: 'x-*.csv'  # only these",
            "pattern: y-*.csv  # only these",
        ),
        (set_value(plan, ("id",), "store"), "id: shop   #", "id: store   #"),
        (set_value(plan, ("steps", 1, "params", "to"), "c"), "'a, b'", "c"),
        (
            set_value(plan, ("steps", 1, "when"), "inputs.env == 'x'", STEP_ORDER),
            "dependsOn: [collect],",
            "dependsOn: [collect], when: inputs.env == 'x',",
        ),
        (
            set_value(plan, ("steps", 0, "dependsOn"), ["a"], STEP_ORDER),
            "action: collect\n",
            "action: collect\n      dependsOn: [a]\n",
        ),
        (
            set_value(plan, ("steps", 0, "retry", "attempts"), 3),
            "          lines\n",
            "          lines\n      retry:\n        attempts: 3\n",
        ),
        (
            set_value(plan, ("name",), "The shop", PLAN_ORDER),
            "# do not change\n",
            "# do not change\n  name: The shop\n",
        ),
        (remove(plan, ("steps", 2, "when")), PLAN.splitlines(True)[22], ""),
        (
            set_source(plan, ("steps", 2, "retry"), "attempts: 3 # tries\nmax: 5s\n"),
            'output.path."}\n',
            'output.path."}\n      retry:\n        attempts: 3 # tries\n        max: 5s\n',
        ),
    ]
    for made, old, new in changes:
        assert PLAN.count(old) == 1
        assert made == PLAN.replace(old, new)


def test_comments_stay_beside_values_that_get_or_lose_lines() -> None:
    text = "id: p\nsql: one  # the sums\nname: b\n"
    made = set_value(PlanText(text), ("sql",), "a\nb")
    assert made == "id: p\nsql: |-  # the sums\n  a\n  b\nname: b\n"
    assert set_value(PlanText(made), ("sql",), "one") == text
    assert set_value(PlanText(made), ("sql",), "c\nd") == made.replace(
        "a\n  b", "c\n  d"
    )
    made = set_source(PlanText(text), ("sql",), "a: 1\nb: 2")
    assert made == "id: p\nsql:  # the sums\n  a: 1\n  b: 2\nname: b\n"
    text = "id: p\nsql: [1]  # the sums\n"
    assert _plan(set_value(PlanText(text), ("sql",), "a\nb"))["sql"] == "a\nb"


def test_items_that_stay_in_a_list_keep_their_comments() -> None:
    text = "id: p\nl:\n- a  # 1\n# of b\n- 'b'  # 2\n- c # 3\nname: x\n"
    for value, wanted in {
        ("a", "b", "c", "d"): text.replace("# 3\n", "# 3\n- d\n"),
        ("b", "c"): text.replace("- a  # 1\n", ""),
        ("a", "b"): text.replace("- c # 3\n", ""),
        ("a", "x"): text.replace("# 1\n", "# 1\n- x\n")
        .replace("- c # 3\n", "")
        .replace("- 'b'  # 2\n", ""),
    }.items():
        assert set_value(PlanText(text), ("l",), [*value]) == wanted
    for value in (["c", "a"], ["x"], [1], ["a", "a"], ["a", {"b": 1}], [{"a": "b"}]):
        assert _plan(set_value(PlanText(text), ("l",), value))["l"] == value


def test_a_key_after_a_text_leaves_its_empty_lines() -> None:
    made = set_value(PlanText("id: p\na: |+\n  x\n\n\n"), ("b",), 1)
    assert _plan(made) == {"id": "p", "a": "x\n\n\n", "b": 1}


def test_a_new_id_is_followed_by_everything_that_names_the_step() -> None:
    made = step_editing.rename_step(PlanText(PLAN), 0, "get-all")
    assert "id: get-all\n" in made
    assert "dependsOn: [get-all]" in made
    assert "        - get-all\n        # and\n" in made
    assert "file: $get-all.files.collected" in made
    assert '"${get-all.output.count} files, $get-all.output.path."' in made
    assert "'steps.get_all.output.count > 0" in made
    assert "action: collect" in made


def test_an_empty_text_becomes_a_plan_and_others_are_refused() -> None:
    step = {"id": "a", "skill": "files", "action": "collect", "params": {"x": "y"}}
    made = step_editing.insert_step(PlanText(""), 0, step)
    assert _plan(made)["steps"] == [step]
    assert made.startswith(EMPTY.partition("steps")[0])
    assert _plan(step_editing.insert_step(PlanText("id: x\nname: y"), 9, step))[
        "steps"
    ] == [step]
    assert _plan(step_editing.insert_step(PlanText("id: x\nsteps:\n"), 0, step))[
        "steps"
    ] == [step]
    assert (
        _plan(step_editing.insert_step(PlanText(json.dumps({"id": "x"})), 0, step))[
            "id"
        ]
        == "x"
    )
    for text in ("- a", "plan: 5", "a: b: c", "a: &x 1", "# only\n", "{", '"'):
        with pytest.raises(NotEditable):
            PlanText(text)


LIKE_SCALARS = [
    "1E100", "-1e400", "9007199254740993", "1e5", "0x1F", "0x20000000000000", "0o7",
    "1_000", ".5", ".inf", ".NaN", "~", "Null", "TRUE", "yes", "2026-01-01", "=", "<<",
    "1" * 500, "?", "-", "!x", "%x", "@x",
]  # fmt: skip
"""Texts that a reader of YAML may take for something else, or refuse."""


@pytest.mark.parametrize("name", ["lines", "json", "tag-release", "feature"])
def test_texts_that_look_like_other_values_stay_texts(name: str) -> None:
    plan = PlanText(TEXTS[name])
    for text in LIKE_SCALARS:
        for value in (text, [text], {text: text}, {text: {text: [text]}}):
            made = set_value(plan, ("steps", 0, "params"), {"typed": value})
            assert _plan(made)["steps"][0]["params"]["typed"] == value, text
            made = set_value(plan, ("steps", 0, "params", text), value)
            assert _plan(made)["steps"][0]["params"][text] == value, text


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=40), st.sampled_from(["lines", "json", "tag-release"]))
@example("1E100", "lines")
def test_any_text_is_written_so_that_it_is_read_again(typed: str, name: str) -> None:
    path = ("steps", 0, "params", "typed")
    try:
        expected = source.parse(json.dumps(typed)).value
    except ValueError:
        return
    if expected is None:
        return
    made = set_value(PlanText(TEXTS[name]), path, typed)
    assert _plan(made)["steps"][0]["params"]["typed"] == typed


@pytest.mark.parametrize("end", ["  x", "  x\n  ", "  x\n    ", "  x\n\n  y"])
@pytest.mark.parametrize("header", ["|", ">", "|-", "|+", "|2", "|2+", ">+2", "|  # c"])
def test_a_text_without_a_line_end_at_the_end_of_the_plan_stays_the_same(
    header: str, end: str
) -> None:
    text = f"id: p\nsteps: []\nsql: {header}\n{end}"
    before = _plan(text)
    for path, value in ((("name",), "n"), (("zzz",), "n"), (("zzz",), "a\nb\n")):
        made = _plan(set_value(PlanText(text), path, value))
        assert made == {**before, path[0]: value}
    for value in ("a\nb\n", "a\nb", "a"):
        made = set_value(PlanText(text), ("sql",), value)
        assert _plan(made) == {**before, "sql": value}
    del before["sql"]
    assert _plan(remove(PlanText(text), ("sql",))) == before
