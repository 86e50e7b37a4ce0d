"""Steps with forEach: what validation says about their lists, names and keys."""

import pytest

from orchestration.plans.domain import iteration
from tests.unit.plans import HEAD, check, plan

ASK = "skill: lab, action: ask"
ROWS = "id: a, skill: lab, action: yield"


def codes(*steps: str, head: str = HEAD, **around) -> list[str]:
    text = head + "".join(f"- {{{step}}}\n" for step in steps)
    return [one.code for one in check(text, **around)]


def messages(*steps: str, head: str = HEAD) -> str:
    text = head + "".join(f"- {{{step}}}\n" for step in steps)
    return " ".join(one.message for one in check(text))


def each(rest: str, params: str = "prompt: $port") -> str:
    return f"id: e, {ASK}, as: port, {rest}, params: {{{params}}}"


@pytest.mark.parametrize(
    "rest",
    [
        "forEach: []",
        "forEach: [1, [2], {a: b}]",
        "forEach: $a.output.rows, dependsOn: [a]",
        "forEach: ['$a.output.text'], dependsOn: [a]",
        "forEach: [1, 2], join: any, onItemError: continue",
        "forEach: [1, 2], join: {atLeast: 2}",
        "forEach: [1], when: 'item == 1 && index < 3'",
    ],
)
def test_a_valid_list_has_no_problem(rest) -> None:
    assert codes(ROWS, each(rest)) == []


@pytest.mark.parametrize(
    ("rest", "code"),
    [
        ("forEach: 3", "plan.for_each_invalid"),
        ("forEach: {a: 1}", "plan.for_each_invalid"),
        ("forEach: text", "plan.for_each_invalid"),
        ("forEach: 'x-$a.output.rows', dependsOn: [a]", "plan.for_each_invalid"),
        ("forEach: $a.output.n, dependsOn: [a]", "plan.for_each_invalid"),
        ("forEach: $a.output, dependsOn: [a]", "plan.for_each_invalid"),
        ("forEach: $a.output.rows", "plan.reference_not_ancestor"),
        ("forEach: $zz.output.rows", "plan.reference_unknown"),
        ("forEach: $port", "plan.reference_unknown"),
        ("forEach: [$index]", "plan.reference_unknown"),
        ("forEach: [1], max: 2", "plan.max_not_parallel"),
        ("forEach: [1], join: {atLeast: 2}", "plan.join_unsatisfiable"),
        ("forEach: [1], join: {atLeast: 0}", "plan.wrong_type"),
        ("forEach: [1], join: most", "plan.wrong_value"),
        ("forEach: [1], onItemError: ignore", "plan.wrong_value"),
        ("forEach: [1], when: 'item.name == 1'", "plan.reference_unknown"),
        ("forEach: [1], when: 'index.x == 1'", "plan.reference_unknown"),
    ],
)
def test_a_list_that_cannot_work_is_a_problem(rest, code) -> None:
    assert codes(ROWS, each(rest)) == [code]


def test_a_list_has_at_most_1000_items() -> None:
    assert codes(each(f"forEach: [{', '.join(['1'] * 1000)}]")) == []
    assert "plan.too_many_items" in codes(each(f"forEach: [{', '.join(['1'] * 1001)}]"))
    assert iteration.MAX_ITEMS == 1000


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("a", "plan.item_name_taken"),
        ("inputs", "plan.reserved_id"),
        ("run", "plan.reserved_id"),
        ("self", "plan.reserved_id"),
        ("index", "plan.reserved_id"),
        ("first", "plan.reserved_id"),
        ("with-hyphen", "plan.wrong_value"),
    ],
)
def test_the_name_of_an_item_must_be_free(name, code) -> None:
    step = f"id: e, {ASK}, forEach: [1], as: {name}, params: {{prompt: x}}"

    assert codes(ROWS, step) == [code]


def test_a_step_named_index_and_a_list_do_not_go_together() -> None:
    index = "id: index, skill: lab, action: yield"

    assert codes(index, each("forEach: [1]")) == ["plan.item_name_taken"]


@pytest.mark.parametrize("key", ["as: x", "max: 2", "join: any", "onItemError: stop"])
def test_the_keys_of_items_need_a_list(key) -> None:
    assert codes(f"id: e, {ASK}, {key}, params: {{prompt: x}}") == ["plan.unknown_key"]


def test_a_choice_has_no_items() -> None:
    step = "id: e, kind: choose, forEach: [1], choose: [{else: []}]"

    assert codes(step) == ["plan.unknown_key"]


@pytest.mark.parametrize("name", ["port", "index"])
def test_an_item_exists_only_in_its_step(name) -> None:
    after = f"id: z, {ASK}, dependsOn: [e], params: {{prompt: ${name}}}"

    found = messages(each("forEach: [1]"), after)

    assert f"${name} exists only in the params of step e." in found


@pytest.mark.parametrize(
    ("items", "params", "code"),
    [
        ("[{name: x}, {name: y}]", "prompt: $port.name", None),
        ("[{name: x}, {name: y}]", "prompt: $port.nam", "plan.reference_unknown"),
        ("[{name: x}, {nom: y}]", "prompt: $port.name", "plan.reference_unknown"),
        ("[{name: x}, {nom: y}]", "prompt: $port.name?", None),
        ("[[x], [y]]", "prompt: $port.0", None),
        ("[1]", "prompt: $index.x", "plan.reference_unknown"),
        ("[1]", "prompt: p, severity: $port", "plan.param_invalid"),
        ("[1]", "prompt: p, severity: $index", "plan.param_invalid"),
        ("[x]", "prompt: p, severity: $port", None),
        ("$a.output.rows", "prompt: $port.a", None),
        ("$a.output.rows", "prompt: $port.b", "plan.reference_unknown"),
        ("$a.output.rows", "prompt: p, severity: $port.a", "plan.type_mismatch"),
    ],
)
def test_fields_and_types_of_items_are_checked(items, params, code) -> None:
    found = codes(ROWS, each(f"forEach: {items}, dependsOn: [a]", params))

    assert found == ([code] if code else [])


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("$e.output.items", None),
        ("$e.output.items.0.severity", None),
        ("$e.output.count", None),
        ("$e.output.severity", "plan.reference_unknown"),
        ("$e.output.items.0.name", None),
        ("$e.files.table", "plan.reference_unknown"),
    ],
)
def test_the_output_of_a_list_is_known(value, code) -> None:
    after = f"id: z, {ASK}, dependsOn: [e], params: {{prompt: {value}}}"

    assert codes(each("forEach: [1]"), after) == ([code] if code else [])


def test_the_number_of_items_is_told_before_the_run_where_it_is_known() -> None:
    text = HEAD + "".join(
        f"- {{id: e{number}, {ASK}, forEach: {items}}}\n"
        for number, items in enumerate(
            ["[1, 2]", "$inputs.ports", "['$inputs.one']", "$e0.output.items"]
        )
    )
    steps = plan(text).steps
    inputs = {"ports": [1, 2, 3], "one": 1}

    assert [iteration.facts(step, inputs)["count"] for step in steps] == [
        2,
        3,
        1,
        None,
    ]
    assert iteration.facts(steps[1], None)["count"] is None


def test_the_parameters_of_known_items_are_checked() -> None:
    step = "id: e, skill: lab, action: yield, forEach: [1, 0], params: {n: $item}"

    assert messages(step).startswith("Item 1: n: 0 is less than the minimum of 1")
    assert codes(step.replace("0]", "2]")) == []
