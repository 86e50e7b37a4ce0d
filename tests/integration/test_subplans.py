"""Sub-plans in runs: what runs, in which order, what is approved and what fails."""

import pytest

from audit import selectors as audit
from execfabric.lib import clock
from execfabric.lib.canonical import NotCanonical
from orchestration.runs import outputs
from orchestration.runs.control import control
from orchestration.runs.domain.results import Failure, Finished, Result, result_digest
from orchestration.runs.engine import attempts, ends, loading
from orchestration.runs.models import Run, StepRun
from orchestration.trace.services import streams
from tests.builders import (
    approved,
    claimed,
    completed,
    driven,
    plan,
    step,
)
from tests.integration.subplan_builders import INPUTS, OUTER, inner, paths, save, uses

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry")]


def end(step_run: StepRun, result: Result) -> None:
    """Claim a ready step and end it; claim nothing else."""
    at = clock.now()
    lease = attempts.claim(step_run_id=step_run.pk, worker="w", session="", at=at)
    attempts.complete(lease, result, worker="w", session="", at=at)


def worked_off(run: Run, *results: Result) -> int:
    """End each ready step with one of the results, the last ones all with the last.

    Return how many items with a sub-plan ran at once at most.
    """
    rest, most = [*results], 0
    while ready := run.steps.filter(state="ready").first():
        items = run.steps.filter(key="each", item__isnull=False)
        most = max(most, items.filter(state="expanded").count())
        end(ready, rest.pop(0) if len(rest) > 1 else rest[0])
    return most


def test_a_sub_plan_runs_and_returns_its_outputs(proposer, operator, worker) -> None:
    save(inner(), proposer)
    run = driven(approved(OUTER, proposer, operator), worker)

    assert run.state == "succeeded"
    assert paths(run) == dict.fromkeys(
        ["first", "sub", "make", "sub/make", "sub/again"], "succeeded"
    )
    sub = run.steps.get(key="sub")
    assert sub.output == {"said": "hello!", "by": "hello"}
    assert run.steps.get(key="make", parent=None).output == {
        "value": "hello! and hello"
    }
    inside = run.steps.filter(parent=sub).order_by("position")
    assert [row.key for row in inside] == ["make", "again"]
    assert streams.verify_stream(run.stream).differences == []


def test_the_output_of_a_run_is_covered_by_its_last_event(
    proposer, operator, worker
) -> None:
    save(inner(), proposer)
    run = driven(approved(OUTER, proposer, operator), worker)
    output = {
        "final": "hello! and hello",
        "inner": {"said": "hello!", "by": "hello"},
    }

    assert outputs.of_run(run) == output
    last = audit.events_after(run.stream, 0, limit=500)[-1]
    payload = audit.envelope(last)["payload"]
    assert payload["output"] == result_digest(output, {})


def test_an_output_that_cannot_be_stored_fails_the_step(
    proposer, operator, worker, monkeypatch
) -> None:
    def refuse(*_: object) -> str:
        raise NotCanonical

    save(inner(), proposer)
    run = approved(OUTER, proposer, operator)
    monkeypatch.setattr(ends, "result_digest", refuse)

    run = driven(run, worker)

    sub = run.steps.get(key="sub")
    assert (sub.state, run.state) == ("failed", "paused")
    assert sub.error["code"] == NotCanonical.code


def test_outputs_without_a_value_end_the_run_as_failed(
    proposer, operator, worker
) -> None:
    text = plan(step("a", "ask", params={"prompt": 1}), outputs={"x": "$a.output.nope"})
    run = driven(approved(text, proposer, operator), worker)

    assert run.state == "failed"
    assert "$a.output.nope" in run.reason
    assert outputs.of_run(run) is None


def test_inputs_are_checked_again_when_the_step_starts(
    proposer, operator, worker
) -> None:
    save(inner(), proposer)
    text = plan(
        step("a", params={"value": 5}), uses(word="$a.output.value", dependsOn=["a"])
    )
    run = driven(approved(text, proposer, operator), worker)
    sub = run.steps.get(key="sub")

    assert (run.state, sub.state) == ("paused", "failed")
    assert sub.error["code"] == "step.params_invalid"
    assert "input word must satisfy type" in sub.error["message"]
    assert set(paths(run)) == {"a", "sub"}


def test_a_condition_on_the_step_skips_all_of_it(proposer, operator, worker) -> None:
    save(inner(), proposer)
    text = plan(
        step("a"),
        uses(dependsOn=["a"], when='inputs.go == "yes"'),
        step("b", after=["a", "sub"], params={"value": "$sub.output.said?"}),
        inputs={"properties": {"go": {"type": "string"}}, "required": ["go"]},
    )
    run = driven(approved(text, proposer, operator, go="no"), worker)

    assert run.state == "succeeded"
    assert paths(run) == {
        "a": "succeeded",
        "sub": "skipped_by_condition",
        "b": "succeeded",
    }
    again = driven(approved(text, proposer, operator, go="yes"), worker)
    assert paths(again)["sub/again"] == "succeeded"
    assert again.steps.get(key="b").output == {"value": "hello!"}


def test_conditions_and_choices_inside_see_the_inputs_of_the_sub_plan(
    proposer, operator, worker
) -> None:
    text = inner(
        step("make", params={"value": "$inputs.word"}),
        {
            "id": "route",
            "kind": "choose",
            "dependsOn": ["make"],
            "choose": [
                {
                    "if": 'inputs.word == "x" && steps.make.output.value == "x"',
                    "then": ["one"],
                },
                {"else": ["two"]},
            ],
        },
        step("one"),
        step("two"),
        outputs={"rule": "$route.output.rule"},
    )
    save(text, proposer)
    outer = plan(
        uses("a", "x"), uses("b", "y"), step("one", after=["a", "b"]), parallel=True
    )
    run = driven(approved(outer, proposer, operator), worker)

    assert run.state == "succeeded"
    states = paths(run)
    assert (states["a/one"], states["a/two"]) == ("succeeded", "skipped_by_condition")
    assert (states["b/one"], states["b/two"]) == ("skipped_by_condition", "succeeded")
    assert run.steps.get(key="a").output == {"rule": 0}
    assert streams.verify_stream(run.stream).differences == []


@pytest.mark.parametrize("on_failure", ["pause", "abort", "continue"])
def test_a_failure_inside_fails_the_step_and_a_resume_tries_again(
    proposer, operator, worker, on_failure: str
) -> None:
    text = inner(
        step("bad"),
        step("later", after="bad"),
        step("other"),
        outputs={},
        onFailure=on_failure,
    )
    save(text, proposer)
    run = approved(plan(uses(), step("last", after="sub")), proposer, operator)
    lease = completed(claimed(run, "bad"), Failure("lab.refused", "It said no."))
    while lease is not None:
        lease = completed(lease)
    run.refresh_from_db()

    other = "succeeded" if on_failure == "continue" else "skipped"
    assert run.state == "paused"
    assert run.reason == "Step sub failed."
    assert paths(run) == {
        "sub": "failed",
        "last": "pending",
        "sub/bad": "failed",
        "sub/later": "skipped",
        "sub/other": other,
    }
    error = run.steps.get(key="sub").error
    assert error["code"] == "step.subplan_failed"
    assert "bad" in error["message"]
    control.resume(run_id=run.pk, by=operator.actor(), at=clock.now())
    run = driven(run, worker)
    assert run.state == "succeeded"
    assert set(paths(run).values()) == {"succeeded"}
    assert streams.verify_stream(run.stream).differences == []


def test_a_plan_that_continues_goes_on_without_the_failed_sub_plan(
    proposer, operator, worker
) -> None:
    save(inner(step("bad", "misbehave", params={"how": "fail"}), outputs={}), proposer)
    text = plan(
        uses(),
        step("after", after="sub"),
        step(
            "always",
            after="sub",
            triggerRule="all_done",
            params={"value": "$sub.output?"},
        ),
        onFailure="continue",
    )
    run = driven(approved(text, proposer, operator), worker)

    assert run.state == "partially_succeeded"
    assert paths(run) == {
        "sub": "failed",
        "sub/bad": "failed",
        "after": "skipped",
        "always": "succeeded",
    }
    assert run.steps.get(key="always").output == {"value": None}


def test_plans_inside_plans_run(proposer, operator, worker) -> None:
    save(inner(), proposer)
    middle = {
        "inputs": {"word": "$inputs.word!"},
        "id": "m",
        "kind": "plan",
        "plan": "inner",
    }
    save(
        plan(middle, id="middle", inputs=INPUTS, outputs={"said": "$m.output.said"}),
        proposer,
    )
    text = plan(
        uses(plan="middle"),
        step("b", after="sub", params={"value": "$sub.output.said"}),
    )
    run = driven(approved(text, proposer, operator), worker)

    assert run.state == "succeeded"
    assert set(paths(run)) == {"sub", "sub/m", "sub/m/make", "sub/m/again", "b"}
    assert run.steps.get(key="b").output == {"value": "hello!!"}
    assert streams.verify_stream(run.stream).differences == []


@pytest.mark.parametrize("parallel", [False, {"max": 2}])
def test_a_sub_plan_runs_once_for_each_item(
    proposer, operator, worker, parallel
) -> None:
    save(inner(), proposer)
    text = plan(
        uses("each", "$item", forEach=["a", "b", "c"]),
        step("b", after="each", params={"value": "$each.output.items"}),
        parallel=parallel,
    )
    run = driven(approved(text, proposer, operator), worker)

    assert run.state == "succeeded"
    assert run.steps.get(key="b").output["value"] == [
        {"said": f"{word}!", "by": word} for word in "abc"
    ]
    assert paths(run)["each[1]/again"] == "succeeded"
    assert run.steps.count() == 1 + 3 * 3 + 1
    assert streams.verify_stream(run.stream).differences == []


@pytest.mark.parametrize("limits", [{}, {"parallel": {"max": 4}}])
def test_items_that_run_a_sub_plan_start_one_after_another(
    proposer, operator, worker, limits
) -> None:
    bad = step("make", "misbehave", params={"how": "fail"})
    save(inner(bad, outputs={}, inputs={"properties": {"word": {}}}), proposer)
    one_at_once = {"max": 1} if limits else {}
    text = plan(
        uses("each", "$item", forEach=["a", "b", "c"], **one_at_once),
        onFailure="continue",
        **limits,
    )
    run = driven(approved(text, proposer, operator), worker)

    assert paths(run) == {
        "each": "failed",
        "each[0]": "failed",
        "each[0]/make": "failed",
        "each[1]": "skipped",
        "each[2]": "skipped",
    }


@pytest.mark.parametrize("on_item_error", ["continue", "stop"])
def test_a_resume_retries_as_many_sub_plans_as_may_run_at_once(
    proposer, operator, on_item_error
) -> None:
    save(inner(outputs={}), proposer)
    fields = {"forEach": [*"abcd"], "max": 2, "onItemError": on_item_error}
    text = plan(uses("each", "$item", **fields), parallel=True)
    run = approved(text, proposer, operator)
    refused = Failure("lab.refused", "It said no.")
    done = Finished({"value": "done"}, {})

    most = [worked_off(run, refused)]
    before = paths(run)
    control.resume(run_id=run.pk, by=operator.actor(), at=clock.now())
    resumed = [paths(run)[f"each[{item}]"] for item in range(4)]
    most.append(worked_off(run, done, refused))
    assert "failed" in paths(run).values()
    control.resume(run_id=run.pk, by=operator.actor(), at=clock.now())
    most.append(worked_off(run, done))

    tried = [path for path in before if "/make" in path]
    assert len(tried) == (4 if on_item_error == "continue" else 2)
    assert resumed == ["expanded", "expanded", "pending", "pending"]
    assert most == [2, 2, 2]
    assert set(paths(run).values()) == {"succeeded"}
    skills = run.steps.filter(kind="skill", parent__item__isnull=False)
    successes = {row.attempts.filter(phase="done").count() for row in skills}
    assert successes == {1}, "a step that has succeeded is repeated"
    assert streams.verify_stream(run.stream).differences == []


def test_only_some_inputs_of_sub_plans_are_cached(
    proposer, operator, worker, monkeypatch
) -> None:
    monkeypatch.setattr(loading, "CACHED_INPUTS", 2)
    save(inner(), proposer)
    text = plan(uses("each", "$item", forEach=[*"abcd"]), parallel=True)
    run = driven(approved(text, proposer, operator), worker)

    assert run.state == "succeeded"
    cached = worker.cache.pop(run.id)
    assert cached is not None
    assert len(cached.subplan_inputs) <= 2


@pytest.mark.parametrize(
    "ends_at_once",
    [
        {"id": "over", "kind": "wait", "until": "2020-01-01T00:00:00Z"},
        step("none", forEach=[], params={"value": "$item"}),
        {"id": "way", "kind": "choose", "choose": [{"else": []}]},
    ],
)
def test_sub_plans_that_end_as_soon_as_they_begin_have_outputs(
    proposer, operator, worker, ends_at_once
):
    save(
        plan(ends_at_once, id="inner", inputs=INPUTS, outputs={"by": "$inputs.word"}),
        proposer,
    )
    text = plan(
        step("first"),
        uses("each", word="$item", forEach=["a", "b"], dependsOn=["first"]),
        step("last", after="each", params={"value": "$each.output.items"}),
    )

    run = driven(approved(text, proposer, operator), worker)

    assert run.state == "succeeded"
    last = run.steps.get(key="last").output
    assert last == {"value": [{"by": "a"}, {"by": "b"}]}
