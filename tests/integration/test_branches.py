"""Conditions, choices and counted joins, on the real engine."""

import pytest
from django.db import IntegrityError, transaction

from execfabric.lib import clock
from orchestration.plans.errors import PlanInvalid
from orchestration.runs.control import control
from orchestration.runs.domain.results import Failure, Finished
from orchestration.runs.engine import conditions, scopes
from tests.builders import (
    approved,
    claimed,
    completed,
    decided,
    driven,
    open_gate,
    outputs,
    plan,
    proposed,
    states,
    step,
)
from tests.record import payloads

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry", "path"),
]

LEFT = "skipped_by_condition"
INPUTS = {
    "type": "object",
    "properties": {
        "env": {"type": "string"},
        "many": {"type": "array"},
        "long": {"type": "string"},
        "n": {"type": "integer"},
    },
}


def choose(key: str, *rules, **fields):
    return {"id": key, "kind": "choose", "choose": [*rules], **fields}


def ended(run):
    """Return the run after all that is ready has returned its parameters."""
    while ready := run.steps.filter(state="ready").first():
        lease = claimed(run, ready.key)
        while lease is not None:
            is_bad = lease.spec["action"] == "misbehave"
            bad = Failure("lab.failed", "It failed.")
            lease = completed(
                lease, bad if is_bad else Finished(lease.spec["params"], {})
            )
    run.refresh_from_db()
    return run


def condition_of(run, key: str):
    return run.steps.get(key=key).condition


ESCALATION = plan(
    step("scan", params={"score": "$inputs.n"}),
    choose(
        "route",
        {"if": "steps.scan.output.score > 10", "then": ["deep"]},
        {"if": 'inputs.env == "prod"', "then": ["quick", "notify"]},
        {"else": []},
        dependsOn=["scan"],
    ),
    step("deep", params={"kind": "deep"}),
    step("quick", params={"kind": "quick"}),
    step("notify", after="quick"),
    step(
        "report",
        after=["deep", "quick"],
        params={"d": "$deep.output?", "q": "$quick.output?"},
    ),
    step("tidy", after=["report", "notify"], trigger_rule="all_done"),
    inputs=INPUTS,
)


@pytest.mark.promise("S3.33", "S3.37", "S3.39", "S4.5")
@pytest.mark.parametrize(
    ("case", "chosen", "left"),
    [
        ((12, "prod", 0), ["deep"], {"quick", "notify"}),
        ((2, "prod", 1), ["quick", "notify"], {"deep"}),
        ((2, "dev", 2), [], {"deep", "quick", "notify", "report"}),
    ],
)
def test_the_first_rule_that_applies_chooses(
    case, chosen, left, proposer, operator, worker
):
    n, env, rule = case
    run = driven(approved(ESCALATION, proposer, operator, n=n, env=env), worker)

    found = states(run)
    assert {key for key, state in found.items() if state == LEFT} == left
    assert set(found.values()) <= {"succeeded", LEFT}
    assert outputs(run)["route"] == {"rule": rule, "then": chosen}
    assert run.state == "succeeded"
    if chosen:
        made = {"deep": {"kind": "deep"}, "quick": {"kind": "quick"}}
        assert outputs(run)["report"] == {
            "d": made["deep"] if "deep" in chosen else None,
            "q": made["quick"] if "quick" in chosen else None,
        }


def test_the_choice_and_the_skips_are_recorded(proposer, operator):
    run = ended(approved(ESCALATION, proposer, operator, n=12, env="prod"))

    made = next(one for one in payloads(run, "step.succeeded") if "condition" in one)
    assert (
        made["condition"]
        == condition_of(run, "route")
        == {
            "result": True,
            "rule": 0,
            "if": "steps.scan.output.score > 10",
            "then": ["deep"],
        }
    )
    skipped = payloads(run, f"step.{LEFT}")
    assert [one["reason"] for one in skipped] == ["Step route did not choose it."] * 2
    assert run.steps.get(key="quick").error is None


@pytest.mark.parametrize(
    ("n", "state", "end"), [(11, "succeeded", "succeeded"), (10, LEFT, LEFT)]
)
def test_a_condition_decides_whether_a_step_runs(n, state, end, proposer, operator):
    text = plan(
        step("a-b", params={"n": "$inputs.n"}),
        step("deep", after="a-b", when="steps.a_b.output.n > 10"),
        step("end", after="deep"),
        inputs=INPUTS,
    )

    run = ended(approved(text, proposer, operator, n=n))

    assert states(run) == {"a-b": "succeeded", "deep": state, "end": end}
    stored = condition_of(run, "deep")
    assert (stored["when"], stored["result"]) == ("steps.a_b.output.n > 10", n > 10)
    kind = "step.started" if n > 10 else f"step.{LEFT}"
    assert stored in [one.get("condition") for one in payloads(run, kind)]
    assert run.state == "succeeded"


def test_a_step_with_a_condition_has_its_gate_only_if_it_runs(proposer, operator):
    text = plan(
        step("yes", "risky", when="inputs.n > 1"),
        step("no", "risky", when="inputs.n > 5"),
        inputs=INPUTS,
        parallel=True,
    )

    run = approved(text, proposer, operator, n=3)

    assert states(run) == {"yes": "gated", "no": LEFT}
    decided(open_gate(run, "yes"), operator)
    assert ended(run).state == "succeeded"


BAD = [
    pytest.param("1 / (inputs.n - 3) > 0", "divide by zero", id="division by zero"),
    pytest.param("inputs.env == 'x'", "env", id="missing field"),
    pytest.param("inputs.many[0] > 1", "", id="wrong type"),
    pytest.param("inputs.many[7] == 'b'", "", id="no such item"),
    pytest.param("inputs.many[0]", "true or false", id="not a truth value"),
    pytest.param("inputs.long != ''", "too large", id="large values"),
]


@pytest.mark.parametrize(("when", "message"), BAD)
def test_a_condition_without_an_answer_fails_the_step(
    when, message, proposer, operator
):
    text = plan(
        step("a", when=when), step("b", after="a"), inputs=INPUTS, onFailure="continue"
    )
    many = [f"item {n}" for n in range(3_000)] if "all(" in when else ["a"]
    long = "x" * (90_000 if "all(" in when else 258_000)

    run = approved(text, proposer, operator, n=3, many=many, long=long)

    assert states(run) == {"a": "failed", "b": "skipped"}
    error = run.steps.get(key="a").error
    assert error["code"] == "step.condition_failed"
    assert message in error["message"]
    assert run.state == "failed"


def test_a_retried_step_evaluates_its_condition_again(proposer, operator):
    text = plan(step("a", when="1 / (inputs.n - 3) > 0"), inputs=INPUTS)
    run = approved(text, proposer, operator, n=3)
    paused = run.state

    control.resume(run_id=run.id, by=operator.actor(), at=clock.now())
    run.refresh_from_db()

    assert (paused, run.state) == ("paused", "paused")
    assert run.steps.get(key="a").generation == 2


def conditional(how: str) -> str:
    """Build a plan with three conditions that are decided at the same time."""
    keys = ["a", "b", "c"]
    steps = [step(key, when="inputs.n == 3") for key in keys]
    if how == "items":
        each = {"forEach": keys, "onItemError": "continue", "join": "all"}
        steps = [step("each", when="item != inputs.env", **each)]
    return plan(*steps, inputs=INPUTS, parallel=True)


@pytest.mark.parametrize(
    ("how", "limit"), [("plan", "MAX_SECONDS"), ("items", "MAX_GIVEN")]
)
def test_conditions_that_take_too_long_together_are_left_to_the_next_change(
    how, limit, proposer, operator, worker, monkeypatch
):
    monkeypatch.setattr(conditions, limit, 0)

    # One condition in each transaction.
    run = approved(conditional(how), proposer, operator, n=3, env="b")

    rows = run.steps.exclude(kind="for_each").order_by("position")
    assert [row.state for row in rows] == ["ready", "pending", "pending"]
    run = driven(run, worker)
    middle = LEFT if how == "items" else "succeeded"
    assert [row.state for row in rows.all()] == ["succeeded", middle, "succeeded"]
    assert run.state == "succeeded"
    # Nothing would continue a run in which no step has started.
    monkeypatch.setattr(conditions, "MAX_GIVEN", 1 << 20)
    run = approved(conditional("plan"), proposer, operator, n=4)
    assert [*states(run).values()] == [LEFT] * 3
    assert run.state == "succeeded"


def test_a_result_is_checked_once_for_all_items_of_a_change(
    proposer, operator, monkeypatch
):
    each = {"forEach": list(range(40)), "params": {"value": "$scan.output.limit"}}
    text = plan(
        step("scan"),
        step("each", when="item >= steps.scan.output.limit", after="scan", **each),
        parallel=True,
    )
    run = approved(text, proposer, operator)
    lease = claimed(run, "scan")
    checked = []
    real = scopes.result_digest
    monkeypatch.setattr(
        scopes, "result_digest", lambda *given: checked.append(given) or real(*given)
    )

    completed(lease, Finished({"limit": 20, "more": ["x"] * 1_000}, {}))

    items = run.steps.filter(item__isnull=False).exclude(state=LEFT)
    assert items.count() == 20
    assert len(checked) == 1


def test_conditions_that_name_too_much_together_leave_the_others_for_a_retry(
    proposer, operator, worker, monkeypatch
):
    limit = conditions.MAX_GIVEN
    monkeypatch.setattr(conditions, "MAX_GIVEN", 0)
    # Room for one condition in each transaction, and no step is ready then.
    steps = [step(key, when=f"inputs.n == {n}") for n, key in enumerate("abc")]

    text = plan(*steps, inputs=INPUTS, parallel=True)
    run = approved(text, proposer, operator, n=2)

    rows = run.steps.order_by("position")
    assert [row.state for row in rows] == [LEFT, "failed", "failed"]
    assert {row.error["code"] for row in rows[1:]} == {"step.conditions_too_slow"}
    assert [row.error["ran"] for row in rows[1:]] == [False, False]
    assert [row.condition for row in rows[1:]] == [None, None]
    assert run.state == "paused"

    monkeypatch.setattr(conditions, "MAX_GIVEN", limit)
    control.resume(run_id=run.id, by=operator.actor(), at=clock.now())
    run = driven(run, worker)

    assert [row.state for row in rows.all()] == [LEFT, LEFT, "succeeded"]
    assert run.state == "succeeded"


@pytest.mark.promise("S3.36")
def test_a_join_waits_for_so_many_of_its_dependencies(proposer, operator):
    text = plan(
        step("a", "misbehave", params={"how": "fail"}),
        step("b"),
        step("c"),
        step("two", after=["a", "b", "c"], triggerRule={"atLeast": 2}),
        step("three", after=["a", "b", "c"], triggerRule={"atLeast": 3}),
        step("every", after=["a", "b", "c"]),
        step("both", after=["b", "c"]),
        step("any", after=["a", "b", "c"], triggerRule="one_success"),
        onFailure="continue",
    )

    run = ended(approved(text, proposer, operator))

    found = states(run)
    assert (found["two"], found["three"]) == ("succeeded", "skipped")
    assert (found["every"], found["both"]) == ("skipped", "succeeded")
    assert found["any"] == "succeeded"
    reason = run.steps.get(key="three").error["message"]
    assert reason == "Its trigger rule at least 3 can no longer be met."


def test_a_forged_choice_starts_nothing(proposer, operator):
    text = plan(
        choose("route", {"if": "inputs.n > 1", "then": ["deep"]}, {"else": ["quick"]}),
        step("hold", "risky", after="route"),
        step("deep", after="hold"),
        step("quick", after="hold"),
        inputs=INPUTS,
        parallel=True,
        onFailure="continue",
    )
    run = approved(text, proposer, operator, n=3)
    run.steps.filter(key="quick").update(
        state="pending", condition=None, finished_at=None
    )
    route = run.steps.get(key="route")
    run.steps.filter(key="route").update(
        condition={**route.condition, "then": ["quick"]}
    )
    decided(open_gate(run, "hold"), operator)

    run = ended(run)

    assert states(run)["quick"] == "failed"
    assert run.steps.get(key="quick").error["code"] == "step.content_changed"


@pytest.mark.parametrize(
    "change",
    [
        {"state": LEFT, "finished_at": "2026-01-01T00:00:00Z"},
        {"condition": {"result": False}},
        {"condition": {"result": True, "then": []}},
    ],
)
def test_the_database_refuses_a_state_without_its_reason(change, proposer, operator):
    run = approved(plan(step("a")), proposer, operator)

    with pytest.raises(IntegrityError), transaction.atomic():
        run.steps.update(**change)


def test_a_plan_with_a_wrong_condition_is_refused(proposer):
    text = plan(step("a"), step("b", after="a", when="steps.c.output > 1"))

    with pytest.raises(PlanInvalid) as refused:
        proposed(text, proposer)

    (problem,) = refused.value.details["problems"]
    assert problem["code"] == "plan.reference_unknown"
    assert problem["column"] == text.index("steps.c") + 1


def test_a_dry_run_says_what_the_inputs_decide(proposer):
    run = proposed(ESCALATION, proposer, {"n": 12, "env": "prod"})

    report = {one["step"]: one for one in run.dry_run.report["steps"]}

    assert report["route"]["verdict"] == "choose"
    assert "deep, quick, notify" in report["route"]["summary"]
    assert report["deep"]["notes"][0] == "It runs only if step route chooses it."


def test_a_dry_run_skips_what_the_inputs_leave_out(proposer):
    text = plan(
        choose("route", {"if": "inputs.n > 1", "then": ["deep"]}, {"else": ["quick"]}),
        step("deep"),
        step("quick"),
        step("late", when="inputs.n > 7"),
        step("odd", when="1 / (inputs.n - 3) > 0"),
        inputs=INPUTS,
    )
    run = proposed(text, proposer, {"n": 3})

    verdicts = {one["step"]: one["verdict"] for one in run.dry_run.report["steps"]}

    assert verdicts["route"] == "choose"
    assert (verdicts["quick"], verdicts["late"]) == ("skipped", "skipped")
    assert verdicts["odd"] == "would_fail"
