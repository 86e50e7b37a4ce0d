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
    absent={"late": "running"},
    first="step-1",
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
        pytest.param("$late.output?", None, id="optional, absent"),
        pytest.param("$late.output.a.b?", None, id="a field of what is absent"),
        pytest.param("$late.files.table?", None, id="a file of what is absent"),
        pytest.param("${late.output.a?}", None, id="optional in braces"),
        pytest.param("x ${late.output?}", "x null", id="optional in text"),
        pytest.param("$step-1.output.n?", 1.0, id="optional, present"),
        pytest.param("$step-1.output.nothing?", None, id="optional field"),
        pytest.param("$step-1.files.chart?", None, id="optional file"),
        pytest.param("$inputs.nothing?", None, id="optional input"),
        pytest.param("Is it $inputs.n?", "Is it 3?", id="a question"),
        pytest.param("$inputs.n? No.", "3? No.", id="a question first"),
        pytest.param("${inputs.n}?", "3?", id="a question after braces"),
        pytest.param("$$inputs.n?", "$inputs.n?", id="no reference, no option"),
        pytest.param("$first.output.text", "t", id="output of the first"),
        pytest.param("$first.files.table", {"$file": {"sha256": "0" * 64}},
                     id="file of the first"),
        pytest.param("$first.id", "step-1", id="id of the first"),
        pytest.param("by ${first.id}", "by step-1", id="id of the first in text"),
    ],
)  # fmt: skip
def test_references_resolve_to_their_values(written, meant) -> None:
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
        ("${}", "not a reference"),
        ("${inputs.n", "not a reference"),
        ("${1+1}", "not a reference"),
        ("${a.output??}", "not a reference"),
        ("$late.output", "late has no output, because it is running"),
        ("$unknown.output?", "unknown has no output"),
        ("$a.id", ".output or .files"),
    ],
)
def test_an_unknown_reference_is_refused_by_name(written, named) -> None:
    with pytest.raises(ReferenceUnresolved) as refusal:
        resolve({"deep": [written]}, SCOPE)

    assert named in refusal.value.message
    assert refusal.value.code == "plan.reference_unresolved"
    assert isinstance(refusal.value, Invalid)


def test_self_exists_only_in_an_undo() -> None:
    with pytest.raises(ReferenceUnresolved, match="no step is being undone here"):
        resolve("$self.output.path", Scope({}, {}))


def test_a_small_text_cannot_insert_more_than_the_limit() -> None:
    scope = Scope({"x": "y" * 1_000_000}, {})

    with pytest.raises(ReferenceTooLarge):
        resolve(["$inputs.x"] * 9, scope)
    with pytest.raises(ReferenceTooLarge):
        resolve("$inputs.x " * 9, scope)


def test_references_are_found_with_their_paths() -> None:
    params = {"a": ["x", "$one.output.n"], "b": "at $two.files.t, ${inputs.x}: $$no $9"}

    found = [(str(one), one.step, one.where, one.whole) for one in find(params)]

    assert found == [
        ("$one.output.n", "one", ("a", 1), True),
        ("$two.files.t", "two", ("b",), False),
        ("$inputs.x", None, ("b",), False),
    ]


def test_a_step_called_first_is_that_step() -> None:
    scope = Scope({}, {}, outputs={"first": {"n": 1}})

    assert resolve("$first.output.n", scope) == 1


def test_first_is_unknown_until_a_parent_has_succeeded() -> None:
    with pytest.raises(ReferenceUnresolved, match="first has no output"):
        resolve("$first.output", Scope({}, {}))


def test_optional_references_are_found_as_such() -> None:
    texts = ["$a.output?", "x ${a.output?}", "x $a.output?", "${a.output}?"]

    assert [next(find(text)).optional for text in texts] == [True, True, False, False]
    assert str(next(find("$a.output.b?"))) == "$a.output.b?"
