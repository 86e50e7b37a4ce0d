"""Concurrency keys of plans and steps: queues across runs, in the order of arrival."""

from datetime import timedelta
from functools import partial

import pytest

from execfabric.lib import clock
from execfabric.lib.ids import span_id
from orchestration.runs.control import control, recovery
from orchestration.runs.domain.results import Failure, Finished, Lost
from orchestration.runs.engine import attempts, places, queues
from orchestration.runs.keeper import sweep
from orchestration.runs.models import ConcurrencyPlace, Run, StepRun
from tests.builders import (
    approved,
    claimed,
    completed,
    decided,
    open_gate,
    plan,
    proposed,
    states,
    step,
)
from tests.database import at_once
from tests.integration.concurrency_builders import (
    alone,
    one_by_one,
    saved,
    state,
)
from tests.record import is_whole, payloads

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]
DONE = Finished({}, {})
BAD = Failure("lab.failed", "It failed.")
LATER = timedelta(minutes=5)


def swept() -> int:
    return sweep.sweep(at=clock.now()).admitted


def end(run, key="a") -> None:
    completed(claimed(run, key), DONE)


def test_runs_with_one_key_proceed_in_the_order_of_their_approvals(proposer, operator):
    first, second, third, other = (
        approved(alone(), proposer, operator, env=env) for env in ("p", "p", "p", "d")
    )
    assert [state(run) for run in (first, second, third, other)] == [
        "running",
        "queued",
        "queued",
        "running",
    ]
    [queued] = payloads(third, "run.queued")
    assert queued["key"] == "deploy-p"
    assert queued["position"] == 2
    assert queued["waits_for"] == [{"run": str(first.id)}, {"run": str(second.id)}]
    assert swept() == 0

    end(first)
    assert state(first) == "succeeded"
    assert swept() == 1
    assert (state(second), state(third)) == ("running", "queued")
    end(second)
    assert swept() == 1
    assert state(third) == "running"
    end(third)
    assert ConcurrencyPlace.objects.filter(key="deploy-p").count() == 0
    for run in (first, second, third):
        assert is_whole(run)


def test_as_many_proceed_as_the_plan_says(proposer, operator):
    runs = [approved(alone(max=2), proposer, operator, env="p") for _ in range(4)]
    assert [state(run) for run in runs] == ["running", "running", "queued", "queued"]

    end(runs[1])
    assert swept() == 1
    assert [state(run) for run in runs[2:]] == ["running", "queued"]


def test_the_smallest_limit_before_a_place_counts(proposer, operator):
    """Nothing joins a run that wants to be alone, and nothing overtakes one."""
    limits = [2, 1, 2, 2]
    runs = [approved(alone(max=n), proposer, operator, env="p") for n in limits]
    seen = []
    while ConcurrencyPlace.objects.exists():
        seen.append([number for number, run in enumerate(runs) if holds(run)])
        end(runs[seen[-1][0]])
        swept()

    assert seen == [[0], [1], [2, 3], [3]]
    assert payloads(runs[2], "run.queued")[0]["max"] == 1


def holds(run) -> bool:
    return state(run) == "running"


def test_a_step_waits_for_a_step_of_another_run_without_a_slot(proposer, operator):
    first, second = (approved(one_by_one(), proposer, operator) for _ in range(2))
    assert states(first)["a"] == "ready"
    assert states(second)["a"] == "queued"
    [queued] = payloads(second, "step.queued")
    assert queued["waits_for"] == [{"run": str(first.id)}]
    assert f"Waiting for run {first.id} to end" in queued["reason"]

    text = plan(
        step("a", concurrency={"key": "database"}), step("z"), parallel={"max": 2}
    )
    third = approved(text, proposer, operator)
    assert states(third) == {"a": "queued", "z": "ready"}
    end(third, "z")

    end(first)
    assert swept() == 1
    assert states(second)["a"] == "ready"
    assert states(third)["a"] == "queued"
    end(second)
    assert swept() == 1
    end(third)
    assert state(third) == "succeeded"
    assert is_whole(third)


@pytest.mark.parametrize("how", ["fail", "cancel", "lose", "reject"])
def test_a_place_is_left_however_its_step_ends(how, proposer, operator):
    fields = {"approval": True} if how == "reject" else {}
    first = approved(one_by_one(**fields), proposer, operator)
    second = approved(one_by_one(), proposer, operator)
    if how == "reject":
        decided(open_gate(first, "a"), operator, approve=False)
    elif how == "cancel":
        control.cancel(run_id=first.id, by=operator.actor(), at=clock.now())
    elif how == "fail":
        completed(claimed(first, "a"), BAD)
    else:
        claimed(first, "a")
        StepRun.objects.filter(run=first, key="a").update(
            lease_until=clock.now() - LATER
        )
        sweep.sweep(at=clock.now())
        assert states(first)["a"] == "ready"
        assert states(second)["a"] == "queued"
        end(first)

    assert swept() == 1
    assert states(second)["a"] == "ready"


def test_a_place_is_kept_while_an_outcome_is_unknown(
    proposer, operator, second_operator, monkeypatch
):
    monkeypatch.setattr(recovery, "require_dead", lambda *_: None)
    first = approved(alone(step("a", "once")), proposer, operator, env="p")
    second = approved(alone(), proposer, operator, env="p")
    completed(claimed(first, "a"), Lost("lab.silent", "No answer."))
    assert state(first) == "paused"
    control.cancel(run_id=first.id, by=operator.actor(), at=clock.now())
    assert state(first) == "cancelled"
    assert swept() == 0

    recovery.resolve(
        step_run_id=first.steps.get().id,
        happened=False,
        evidence="There is none.",
        by=second_operator.actor(),
        at=clock.now(),
    )
    assert swept() == 1
    assert state(second) == "running"


def test_a_queued_run_can_be_paused_resumed_and_cancelled(proposer, operator):
    first, second, third = (
        approved(alone(), proposer, operator, env="p") for _ in range(3)
    )
    control.pause(run_id=second.id, by=operator.actor(), at=clock.now())
    assert state(second) == "paused"
    end(first)
    # It keeps its place in the queue.
    assert swept() == 0
    control.resume(run_id=second.id, by=operator.actor(), at=clock.now())
    assert state(second) == "running"
    control.cancel(run_id=second.id, by=operator.actor(), at=clock.now())

    assert swept() == 1
    assert state(third) == "running"
    control.cancel(run_id=third.id, by=operator.actor(), at=clock.now())
    assert not ConcurrencyPlace.objects.exists()


def test_a_retry_and_a_fallback_go_to_the_end_of_the_queue(proposer, operator):
    first = approved(one_by_one(), proposer, operator)
    second = approved(one_by_one(), proposer, operator)
    completed(claimed(first, "a"), BAD)
    control.resume(run_id=first.id, by=operator.actor(), at=clock.now())
    assert states(first)["a"] == "queued"
    assert swept() == 1
    assert states(second)["a"] == "ready"
    end(second)
    assert swept() == 1

    third = approved(one_by_one(), proposer, operator)
    end(first)
    assert swept() == 1
    fallback = {"skill": "lab", "action": "echo"}
    fourth = approved(one_by_one(fallback=fallback), proposer, operator)
    end(third)
    assert swept() == 1
    fifth = approved(one_by_one(), proposer, operator)
    completed(claimed(fourth, "a"), BAD)
    assert states(fourth)["a.fallback"] == "queued"
    assert swept() == 1
    end(fifth)
    assert swept() == 1
    end(fourth, "a.fallback")
    assert states(fourth)["a"] == "succeeded"
    assert is_whole(fourth)


def test_a_step_keeps_its_place_while_it_waits_for_its_approval(proposer, operator):
    first = approved(one_by_one(approval=True), proposer, operator)
    second = approved(one_by_one(), proposer, operator)
    assert states(first)["a"] == "gated"
    assert swept() == 0
    decided(open_gate(first, "a"), operator)
    end(first)
    assert swept() == 1
    assert states(second)["a"] == "ready"


def test_steps_of_subplans_take_places(proposer, operator):
    sub = saved(proposer, step("a", concurrency={"key": "database"}))
    first, second = (approved(plan(sub), proposer, operator) for _ in range(2))
    assert [states(run)["a"] for run in (first, second)] == ["ready", "queued"]

    end(first)

    assert state(first) == "succeeded"
    assert swept() == 1
    assert states(second)["a"] == "ready"
    assert is_whole(second)


def test_approvals_at_the_same_time_give_one_place(proposer, operator, second_operator):
    """Real commits on several connections: one run proceeds, the others know for whom."""
    runs = [proposed(alone(), proposer, {"env": "p"}) for _ in range(6)]
    gates = [open_gate(run) for run in runs]
    decisions = at_once(*[partial(decided, gate, operator) for gate in gates])

    assert {decision.status for decision in decisions} == {"approved"}
    assert sorted(state(run) for run in runs) == ["queued"] * 5 + ["running"]
    order = list(ConcurrencyPlace.objects.order_by("id").values_list("run", flat=True))
    for run_id in order:
        run = Run.objects.get(pk=run_id)
        assert run.state == "running"
        assert Run.objects.filter(state="running").count() == 1
        end(run)
        swept()
    assert not ConcurrencyPlace.objects.exists()


def test_two_keys_in_either_order_block_no_one(proposer, operator):
    """Each change may take places for several keys, while others take them too."""

    def both(*keys):
        steps = [step(key, concurrency={"key": key}) for key in keys]
        return plan(*steps, parallel=True)

    texts = [both("k1", "k2"), both("k2", "k1")] * 2
    runs = [proposed(text, proposer) for text in texts]
    gates = [open_gate(run) for run in runs]
    decisions = at_once(*[partial(decided, gate, operator) for gate in gates])
    assert {decision.status for decision in decisions} == {"approved"}

    for _ in range(2 * len(runs)):
        for ready in StepRun.objects.filter(state="ready").select_related("run"):
            lease = claimed(ready.run, ready.key)
            while lease is not None:
                lease = completed(lease, DONE)
        swept()
    assert {state(run) for run in runs} == {"succeeded"}
    assert all(is_whole(run) for run in runs)


def test_others_may_leave_while_a_run_says_for_whom_it_waits(proposer, operator):
    """Their transactions end between two statements of the one that waits."""
    first, second = (approved(alone(), proposer, operator, env="x") for _ in range(2))
    place = places.find(second.id, None)
    control.cancel(run_id=first.id, by=operator.actor(), at=clock.now())

    fact = queues._waiting(place)

    assert fact["waits_for"] == []
    assert fact["reason"].startswith("Waiting for others to end")


def test_a_place_that_was_left_is_not_given_twice(proposer, operator):
    first, second = (approved(one_by_one(), proposer, operator) for _ in range(2))
    place = places.find(second.id, second.steps.get(key="a").id)
    assert (place.is_held, place.position) == (False, 1)
    end(first)
    rows = places.free(skip=[], limit=10)
    assert rows == [(second.id, second.steps.get(key="a").id)]
    assert places.free(skip=[second.id], limit=10) == []
    assert swept() == 1
    assert swept() == 0


def test_an_item_leaves_its_slot_while_its_fallback_waits_for_the_key(
    proposer, operator
):
    before = approved(one_by_one(), proposer, operator)
    fallback = {"skill": "lab", "action": "echo"}
    key = {"key": "database"}
    each = step("each", forEach=[0, 1], max=1, concurrency=key, fallback=fallback)
    run = approved(plan(each, parallel={"max": 2}), proposer, operator)
    item, other = run.steps.filter(key="each", item__isnull=False).order_by("item")
    assert (item.state, other.state) == ("queued", "queued")

    end(before)
    assert swept() == 1
    completed(claimed_run(item), BAD)
    assert states(run)["each.fallback"] == "queued"
    assert swept() == 1
    completed(claimed_run(other))
    assert swept() == 1
    end(run, "each.fallback")

    assert state(run) == "succeeded"
    assert is_whole(run)


def claimed_run(step_run):
    return attempts.claim(
        step_run_id=step_run.id, worker="w", session=span_id(), at=clock.now()
    )
