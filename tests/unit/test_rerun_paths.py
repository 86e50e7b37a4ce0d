"""Which steps of a rerun run in any case, by the path of its first step."""

import pytest

from orchestration.plans.domain import form, source
from orchestration.plans.domain.document import PlanDocument
from orchestration.runs.domain.reruns import after, runs_again
from tests.builders import plan, step


def document(*steps: dict, **fields: object) -> PlanDocument:
    found, problems = form.read(source.parse(plan(*steps, **fields)))
    assert found is not None, problems
    return found


OUTER = document(
    step("a"),
    {"id": "sub", "kind": "plan", "plan": "inner", "dependsOn": ["a"]},
    step("side", after="a"),
    {
        "id": "pick",
        "kind": "choose",
        "dependsOn": ["sub"],
        "choose": [{"when": "true", "then": ["chosen"]}, {"then": ["other"]}],
    },
    step("chosen"),
    step("other"),
    step("last", after=["chosen", "other"], triggerRule="one_success"),
)
INNER = document(step("one"), step("two", after="one"), step("three"), id="inner")
INSIDE = {"sub": INNER}


def test_what_comes_after_a_step_depends_on_it_or_is_chosen_by_it() -> None:
    assert after("a", OUTER) == {"sub", "side", "pick", "chosen", "other", "last"}
    assert after("pick", OUTER) == {"chosen", "other", "last"}
    assert after("last", OUTER) == set()


PATHS = ["a", "a.fallback", "sub", "sub/one", "sub/two", "sub/two.fallback"]
PATHS += ["sub/three", "side", "last"]


@pytest.mark.parametrize(
    ("first", "again"),
    [
        ("", PATHS),
        ("a", PATHS),
        ("sub", [*PATHS[2:7], "last"]),
        ("sub/one", ["sub/one", "sub/two", "sub/two.fallback", "last"]),
        ("sub/two", ["sub/two", "sub/two.fallback", "last"]),
        ("side", ["side"]),
        ("last", ["last"]),
    ],
)
def test_the_steps_that_run_again(first: str, again: list[str]) -> None:
    found = [path for path in PATHS if runs_again(path, first, OUTER, INSIDE)]

    assert found == again
