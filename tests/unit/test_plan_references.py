"""References: what is one, what it names, and what it becomes."""

import pytest

from execfabric.lib.refusal import Invalid
from orchestration.plans.domain.references import Scope, find, resolve
from orchestration.plans.errors import ReferenceTooLarge, ReferenceUnresolved

SCOPE = Scope(
    inputs={"month": "2024-05", "n": 3, "my-field": "h", "none": None},
    run={"id": "r1"},
    outputs={
        "step-1": {"text": "t", "n": 1.0, "list": [{"a": True}], "deep": {"b": [1]}},
        "a": {"money": "$inputs.month $$"},
    },
    files={"step-1": {"table": {"$file": {"sha256": "0" * 64}}}},
    self_={"output": {"path": "p"}, "params": {"name": "branch"}},
)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        pytest.param("$inputs.n", 3, id="a number stays a number"),
        pytest.param("$inputs.none", None, id="null stays null"),
        pytest.param("$step-1.output.list", [{"a": True}], id="a list stays a list"),
        pytest.param("$step-1.output.list.0.a", True, id="into a list"),
        pytest.param("$step-1.files.table.$$", '{"$file":{"sha256":"%s"}}.$' % ("0" * 64),
                     id="a file in text is its reference"),
        pytest.param("$step-1.files.table", {"$file": {"sha256": "0" * 64}}, id="file"),
        pytest.param("$run.id", "r1", id="run"),
        pytest.param("$self.output.path", "p", id="self output"),
        pytest.param("$self.params.name", "branch", id="self params"),
        pytest.param("${inputs.n}", 3, id="braces keep the type"),
        pytest.param("${inputs.my-field}", "h", id="hyphen in braces"),
        pytest.param("${inputs.month}.csv", "2024-05.csv", id="braces set limits"),
        pytest.param("sales-$inputs.month-*.csv", "sales-2024-05-*.csv", id="hyphen ends"),
        pytest.param("Of $inputs.month.", "Of 2024-05.", id="the dot of a sentence"),
        pytest.param("n=$inputs.n", "n=3", id="number in text"),
        pytest.param("n=$step-1.output.n", "n=1", id="float in text as in JSON"),
        pytest.param("x $step-1.output.deep", 'x {"b":[1]}', id="object in text"),
        pytest.param("x $inputs.none", "x null", id="null in text"),
        pytest.param("$inputs.n$inputs.n", "33", id="side by side"),
        pytest.param("$$inputs.n", "$inputs.n", id="doubled dollar"),
        pytest.param("$$$inputs.n", "$3", id="dollar and reference"),
        pytest.param("$5, a$ and $", "$5, a$ and $", id="plain dollars"),
        pytest.param("^\\d{4}$", "^\\d{4}$", id="end of a pattern"),
        pytest.param("$a.output.money", "$inputs.month $$", id="not read again"),
        pytest.param("($a.output.money)", "($inputs.month $$)", id="nor in text"),
        pytest.param({"$inputs.n": "$inputs.n"}, {"$inputs.n": 3}, id="keys hold none"),
        pytest.param([1, ["$inputs.n"]], [1, [3]], id="nested"),
        pytest.param("$step-1.output.deep.b.-1", "[1].-1", id="no index from behind"),
        pytest.param("", "", id="empty"),
    ],
)  # fmt: skip
def test_references_become_what_they_name(written, meant) -> None:
    found = resolve(written, SCOPE)

    assert found == meant
    assert type(found) is type(meant)


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ("$inputs.nothing", "'nothing'"),
        ("$step-1.output.list.1", "'1'"),
        ("$step-1.output.text.x", "'x'"),
        ("$step-1.files.chart", "'chart'"),
        ("$step-1", ".output or .files"),
        ("$step-1.result", ".output or .files"),
        ("$unknown.output", "unknown has no output"),
        ("$HOME", ".output or .files"),
        ("${}", "no reference"),
        ("${inputs.n", "no reference"),
        ("${1+1}", "no reference"),
    ],
)
def test_a_reference_that_leads_nowhere_is_refused_by_name(written, named) -> None:
    with pytest.raises(ReferenceUnresolved) as refusal:
        resolve({"deep": [written]}, SCOPE)

    assert named in refusal.value.message
    assert refusal.value.code == "plan.reference_unresolved"
    assert isinstance(refusal.value, Invalid)


def test_self_exists_only_where_a_step_is_undone() -> None:
    with pytest.raises(ReferenceUnresolved, match="no step is undone here"):
        resolve("$self.output.path", Scope({}, {}))


def test_a_small_text_cannot_bring_in_more_than_the_limit() -> None:
    scope = Scope({"x": "y" * 1_000_000}, {})

    with pytest.raises(ReferenceTooLarge):
        resolve(["$inputs.x"] * 9, scope)
    with pytest.raises(ReferenceTooLarge):
        resolve("$inputs.x " * 9, scope)


def test_references_are_found_with_their_places() -> None:
    params = {"a": ["x", "$one.output.n"], "b": "at $two.files.t, ${inputs.x}: $$no $9"}

    found = [(str(one), one.step, one.where, one.whole) for one in find(params)]

    assert found == [
        ("$one.output.n", "one", ("a", 1), True),
        ("$two.files.t", "two", ("b",), False),
        ("$inputs.x", None, ("b",), False),
    ]
