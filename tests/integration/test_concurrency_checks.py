"""Concurrency keys: which ones are refused, what pages and the record say."""

import pytest
from django.db import IntegrityError, transaction

from execfabric.infra import database
from execfabric.lib import clock
from orchestration.plans.errors import PlanInvalid
from orchestration.runs.domain.results import Finished
from orchestration.runs.engine import places
from orchestration.runs.models import ConcurrencyPlace, Run
from orchestration.trace.services import streams
from tests.api_builders import Caller, token_of
from tests.builders import (
    approved,
    claimed,
    completed,
    open_gate,
    plan,
    proposed,
    states,
    step,
)
from tests.console_builders import signed_in, words
from tests.integration.concurrency_builders import alone, one_by_one, saved, state
from tests.web.run_builders import page_of

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]


@pytest.mark.parametrize("value", [{}, "", "x" * 200, "a\u0000b", None])
def test_a_key_that_cannot_be_used_fails_the_step(value, proposer, operator):
    locked = step("b", after="a", concurrency={"key": "k-$a.output.key"})
    if value == {}:
        locked["concurrency"] = {"key": "$a.output.key"}
    elif value in ("", None):
        locked["concurrency"] = {"key": "${a.output.key}"}
    run = approved(plan(step("a"), locked), proposer, operator)

    if value == "a\u0000b":
        value = "a\nb"
    completed(claimed(run, "a"), Finished({"key": value}, {}))

    assert states(run)["b"] == "failed"
    error = run.steps.get(key="b").error
    assert error["code"] == "step.concurrency_key_invalid"
    assert not ConcurrencyPlace.objects.exists()


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"concurrency": {"key": "$run.id"}}, "plan.reference_unknown"),
        ({"concurrency": {"key": "$a.output"}}, "plan.reference_unknown"),
        ({"concurrency": {"key": "$inputs.nothing"}}, "plan.reference_unknown"),
        ({"concurrency": {"key": "$inputs.list"}}, "plan.type_mismatch"),
        ({"concurrency": {"key": ""}}, "plan.concurrency_key"),
        ({"concurrency": {"key": "x" * 201}}, "plan.concurrency_key"),
        ({"concurrency": {"key": "$inputs.env"}}, "plan.concurrency_key"),
        ({"concurrency": {"key": "k", "max": 0}}, "plan.wrong_type"),
        ({"concurrency": {"max": 1}}, "plan.missing_key"),
        ({"concurrency": {"key": "k", "slots": 1}}, "plan.unknown_key"),
        ({"concurrency": "k"}, "plan.wrong_type"),
    ],
)
def test_a_wrong_key_of_a_plan_is_refused(fields, code, proposer):
    inputs = {
        "type": "object",
        "properties": {"env": {"type": "string"}, "list": {"type": "array"}},
    }
    with pytest.raises(PlanInvalid) as refused:
        proposed(plan(step("a"), inputs=inputs, **fields), proposer, {"env": ""})

    [problem] = refused.value.details["problems"]
    assert problem["code"] == code
    assert problem["line"] == 1


def test_nothing_that_waits_may_hold_a_place(proposer):
    text = plan(step("a", concurrency={"key": "b"}), concurrency={"key": "a"})

    with pytest.raises(PlanInvalid) as refused:
        proposed(text, proposer)

    [problem] = refused.value.details["problems"]
    assert problem["code"] == "plan.concurrency_nested"


@pytest.mark.parametrize("is_inner", [True, False])
def test_a_subplan_takes_no_place_and_none_inside_a_held_one(is_inner, proposer):
    key = {"concurrency": {"key": "k"}}
    steps = [step("a")] if is_inner else [step("a", **key)]
    sub = saved(proposer, *steps, **(key if is_inner else {}))

    with pytest.raises(PlanInvalid) as refused:
        proposed(plan(sub, **({} if is_inner else key)), proposer)

    [problem] = refused.value.details["problems"]
    assert problem["code"] == "plan.concurrency_nested"
    assert problem["step"] == "sub"


def test_pages_and_api_say_for_whom_a_run_waits(proposer, operator):
    first, second = (approved(alone(), proposer, operator, env="p") for _ in range(2))
    shown = words(page_of(second, signed_in(operator)))
    assert "Queued" in shown
    assert "The run waits for a place with the concurrency key “deploy-p”." in shown
    assert f"Waiting for run {first.id}" in shown

    row = Caller(token_of(operator)).get(f"runs/{second.pk}").json()

    assert row["state"] == "queued"
    assert row["queue"] == [
        {
            "step": "",
            "key": "deploy-p",
            "max": 1,
            "position": 1,
            "waits_for": [{"run": str(first.id)}],
        }
    ]
    locked = approved(one_by_one(), proposer, operator)
    waiting = approved(one_by_one(), proposer, operator)
    shown = words(page_of(waiting, signed_in(operator)))
    assert f"Waiting for run {locked.id}" in shown


def test_only_steps_of_the_same_run_are_named(proposer, operator, monkeypatch):
    """Readers of a run may not see those that are before it."""
    locked = [step(k, concurrency={"key": "database"}) for k in ("a", "b", "c")]
    first, second = (
        approved(plan(*locked, parallel=True), proposer, operator) for _ in range(2)
    )
    asked = []
    rows = database.rows
    monkeypatch.setattr(database, "rows", lambda *q: asked.append(q) or rows(*q))
    monkeypatch.setattr(database, "row", None)

    queue = places.queue_of(second.id)

    assert len(asked) == 1
    own, other = str(second.id), {"run": str(first.id)}
    assert [(one.step, one.before) for one in queue] == [
        ("a", [other]),
        ("b", [other, {"run": own, "step": "a"}]),
        ("c", [other, {"run": own, "step": "a"}, {"run": own, "step": "b"}]),
    ]
    assert [one.place.position for one in queue] == [3, 4, 5]


def test_an_approver_sees_the_key_with_its_values(proposer, operator):
    run = proposed(alone(), proposer, {"env": "prod"})

    shown = words(signed_in(operator).get(f"/gates/{open_gate(run).pk}"))

    assert "At most 1 at a time with the concurrency key deploy-prod" in shown


def test_a_forged_key_or_admission_is_found(proposer, operator):
    run = approved(alone(), proposer, operator, env="p")
    run.steps.update(concurrency_key="x", admitted_at=clock.now())
    Run.objects.filter(pk=run.pk).update(concurrency_key="deploy-x")

    tables = {one.table for one in streams.verify_stream(run.stream).differences}
    assert tables == {"runs_run", "runs_steprun"}

    claimed(run, "a")
    assert state(run) == "awaiting_approval"


@pytest.mark.parametrize(
    "columns", [{"admitted_at": clock.now()}, {"concurrency_key": "x"}]
)
def test_the_database_refuses_a_place_that_is_none(columns, proposer, operator):
    run = approved(plan(step("a")), proposer, operator)
    for rows in (run.steps, Run.objects.filter(pk=run.pk)):
        with pytest.raises(IntegrityError), transaction.atomic():
            rows.update(**columns)
