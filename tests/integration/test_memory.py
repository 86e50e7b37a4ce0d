"""What a worker remembers of a run saves reading and is never believed."""

import threading
import time
from copy import copy
from dataclasses import replace
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.db.models import F

from approvals import services as approvals
from approvals.domain.seats import Requirement
from approvals.services.policies import PolicyDraft
from execfabric.lib import clock
from orchestration.runs.domain.results import Finished
from orchestration.runs.models import StepRun
from orchestration.runs.services import attempts, loading, work
from orchestration.runs.services.loading import Memory
from tests.builders import approved, chain, driven, outputs, plan, states, step

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]


@pytest.fixture
def memory():
    """What one worker knows."""
    return Memory()


@pytest.fixture
def begun(proposer, operator, memory):
    """A run of three steps whose first one this worker has claimed."""
    run = approved(chain(3), proposer, operator)
    grip = claimed(run.steps.get(key="s0"), memory)
    return run, grip


def claimed(ready, memory):
    """A worker's grip on a ready step."""
    grip = attempts.claim(
        step_run_id=ready.id,
        worker="first",
        by=work.BY,
        at=clock.now(),
        memory=memory,
    )
    assert grip is not None
    return grip


def completed(grip, memory, output=None):
    """The grip on the step that follows."""
    return attempts.complete(
        grip,
        Finished(output or {}, {}),
        worker="first",
        by=work.BY,
        at=clock.now(),
        memory=memory,
    )


def loaded(run, memory):
    """The run as a worker with this memory would work on it now."""
    with transaction.atomic():
        return loading.load(run.id, memory)


def test_a_run_that_nobody_touched_is_not_read_again(begun, memory):
    run, grip = begun
    before = loaded(run, memory)
    memory.keep(before)

    grip = completed(grip, memory)
    after = loaded(run, memory)

    assert after is before
    assert after.run is before.run
    assert after.end.seq == run_events(run)
    assert [after.steps[key].state for key in ("s0", "s1", "s2")] == [
        "succeeded",
        "running",
        "pending",
    ]


def run_events(run):
    """How many events the run's stream has."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT last_seq FROM audit_stream WHERE key = %s", [run.stream])
        return cursor.fetchone()[0]


OF_PIN = "(SELECT (pins -> 's0' ->> 'version_id')::uuid FROM runs_run WHERE id = %s)"


@pytest.mark.parametrize(
    ("table", "assignment", "which"),
    [
        ("runs_run", "inputs = inputs", "%s"),
        (
            "plans_planrevision",
            "number = number",
            "(SELECT revision_id FROM runs_run WHERE id = %s)",
        ),
        (
            "approvals_gate",
            "label = label",
            "(SELECT gate_id FROM runs_run WHERE id = %s)",
        ),
        ("skills_skillversion", "state = state", OF_PIN),
        (
            "skills_skill",
            "state = state",
            f"(SELECT skill_id FROM skills_skillversion WHERE id = {OF_PIN})",
        ),
    ],
)
def test_whoever_writes_a_row_by_whatever_way_has_the_run_read_anew(
    table, assignment, which, begun, memory
):
    run, _ = begun
    before = loaded(run, memory)
    memory.keep(before)
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        cursor.execute(f"UPDATE {table} SET {assignment} WHERE id = {which}", [run.id])
        written = cursor.rowcount
        cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")

    after = loaded(run, memory)

    assert written == 1
    assert after is not before


def test_a_step_that_another_worker_wrote_is_read_again(begun, memory):
    run, grip = begun
    other = Memory()
    memory.keep(before := loaded(run, memory))

    completed(grip, other)
    after = loaded(run, memory)

    assert after is before
    assert after.steps["s0"].state == "succeeded"
    assert after.steps["s1"].worker == "first"


def test_a_step_that_has_another_key_now_is_not_known_by_the_old_one(begun, memory):
    run, _ = begun
    memory.keep(loaded(run, memory))
    run.steps.filter(key="s2").update(key="other")

    assert list(loaded(run, memory).steps) == ["s0", "s1", "other"]


def test_steps_that_changed_places_are_told_apart(begun, memory):
    run, _ = begun
    memory.keep(loaded(run, memory))
    run.steps.filter(key__in=["s0", "s1"]).update(position=1 - F("position"))
    memory.keep(loaded(run, memory))
    run.steps.filter(key="s0").update(worker="second")

    after = loaded(run, memory)

    assert list(after.steps) == ["s1", "s0", "s2"]
    assert after.steps["s0"].worker == "second"


def test_a_policy_made_meanwhile_is_asked_for(begun, memory, admin):
    run, grip = begun
    memory.keep(loaded(run, memory))
    draft = PolicyDraft(
        name="everything",
        reason="Everything of the laboratory is asked for.",
        requirements=(Requirement("operator", 1),),
        skill="lab",
    )
    approvals.publish_policy(draft=draft, by=admin.actor(), at=clock.now())

    assert completed(grip, memory) is None

    assert states(run) == {"s0": "succeeded", "s1": "gated", "s2": "pending"}


def test_what_a_step_yielded_is_read_when_it_is_used(
    proposer, operator, memory, witness
):
    text = plan(
        step("source", params={"value": "agreed"}),
        step("between", after="source"),
        step(
            "effect",
            "witness",
            after=["source", "between"],
            params={"mark": "$source.output.value"},
        ),
    )
    run = approved(text, proposer, operator)
    grip = claimed(run.steps.get(key="source"), memory)
    grip = completed(grip, memory, {"value": "agreed"})
    assert grip is not None
    StepRun.objects.filter(run=run, key="source").update(output={"value": "forged"})

    assert completed(grip, memory) is None

    assert states(run)["effect"] == "failed"
    assert witness.read() == []


def test_a_result_survives_the_loss_of_the_connection(
    proposer, operator, bench, witness
):
    text = plan(step("effect", "witness", params={"mark": "once", "after": 1.5}))
    run = approved(text, proposer, operator)
    mine = backend()
    cut = threading.Thread(target=end_backend, args=[mine, witness])
    cut.start()

    driven(run, bench)
    cut.join()

    assert backend() != mine
    assert states(run) == {"effect": "succeeded"}
    assert outputs(run) == {"effect": {"mark": "once"}}
    assert len(witness.read()) == 1


def backend() -> int:
    """The server's process behind this thread's connection."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return int(cursor.fetchone()[0])


def end_backend(pid, witness):
    """Cut a connection once the effect has happened."""
    try:
        for _ in range(200):
            if witness.read():
                break
            time.sleep(0.05)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s)", [pid])
    finally:
        connection.close()


def test_only_so_many_runs_are_remembered(memory, begun):
    run, _ = begun
    one = loaded(run, memory)
    for number in range(loading.REMEMBERED + 1):
        other = replace(one, run=copy(one.run))
        other.run.id = UUID(int=number)
        memory.keep(other)

    assert memory.take(UUID(int=0)) is None
    assert memory.take(UUID(int=loading.REMEMBERED)) is not None
