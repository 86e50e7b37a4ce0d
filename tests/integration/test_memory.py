"""What a worker remembers of a run saves reading and is never believed."""

import threading
import time
from copy import copy
from dataclasses import replace
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from approvals.domain.policy import Rule
from approvals.domain.seats import Requirement
from approvals.services import policies as approvals
from execfabric.lib import clock
from execfabric.lib.ids import span_id
from orchestration.runs.domain.results import Finished
from orchestration.runs.domain.states import StepEvent
from orchestration.runs.engine import attempts, loading
from orchestration.runs.engine.loading import RunCache
from orchestration.runs.engine.transitions import RunChange
from orchestration.runs.models import StepRun
from tests.builders import approved, chain, driven, outputs, plan, states, step

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]


@pytest.fixture
def cache():
    """Return the cache of one worker."""
    return RunCache()


@pytest.fixture
def begun(proposer, operator, cache):
    """Return a run of three steps whose first one this worker has claimed."""
    run = approved(chain(3), proposer, operator)
    lease = claimed(run.steps.get(key="s0"), cache)
    return run, lease


def claimed(ready, cache):
    """Claim a ready step and return its lease."""
    lease = attempts.claim(
        step_run_id=ready.id,
        worker="first",
        session=span_id(),
        at=clock.now(),
        cache=cache,
    )
    assert lease is not None
    return lease


def completed(lease, cache, output=None):
    """Return the lease of the next step."""
    return attempts.complete(
        lease,
        Finished(output or {}, {}),
        worker="first",
        session=span_id(),
        at=clock.now(),
        cache=cache,
    )


def loaded(run, cache):
    """Return the run as a worker with this cache loads it under its lock."""
    with transaction.atomic():
        return loading.load(run.id, cache.pop(run.id))


def test_a_run_that_no_one_touched_is_not_read_again(begun, cache):
    run, lease = begun
    before = cache.pop(run.id)
    cache.put(before)

    with CaptureQueriesContext(connection) as orm:
        completed(lease, cache)
    after = cache.pop(run.id)

    assert (cache.taken, cache.refused) == (1, 0)
    assert orm.captured_queries == []
    assert after is before
    assert after.end.seq == run_events(run)
    assert [step.state for step in after.steps.values()] == [
        "succeeded",
        "running",
        "pending",
    ]


def run_events(run):
    """How many events the run's stream has."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT last_seq FROM audit_stream WHERE key = %s", [run.stream])
        return cursor.fetchone()[0]


OF_PIN = """(SELECT (pins -> 's0' ->> 'version_id')::uuid FROM runs_run
  WHERE id = %(run)s)"""


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE runs_run SET reason = 'by hand' WHERE id = %(run)s",
        "UPDATE runs_steprun SET max_attempts = 7 WHERE run_id = %(run)s AND key = 's2'",
        """UPDATE approvals_gate SET status = 'superseded', settled_at = now(),
        settled_reason = 'by hand' WHERE context_id = %(run)s""",
        f"UPDATE skills_skillversion SET state = 'withdrawn' WHERE id = {OF_PIN}",
        "UPDATE skills_skill SET state = 'quarantined' WHERE slug = 'lab'",
        "UPDATE accounts_user SET is_active = false WHERE username = 'operator'",
        "DELETE FROM accounts_user_groups",
    ],
)
def test_a_write_by_hand_makes_a_worker_read_the_run_again(statement, begun, cache):
    run, lease = begun
    with connection.cursor() as cursor:
        cursor.execute(statement, {"run": run.id})
        assert cursor.rowcount

    completed(lease, cache)

    assert (cache.taken, cache.refused) == (0, 1)
    assert run.steps.get(key="s0").state == "succeeded"
    read = cache.pop(run.id)
    assert read.run.version == type(run).objects.get(pk=run.pk).version


@pytest.mark.parametrize("column", ["lease_until", "hinted_at"])
def test_heartbeats_and_hints_do_not_count_as_writes_by_hand(column, begun, cache):
    run, lease = begun
    StepRun.objects.filter(run=run, key="s0").update(**{column: clock.now()})

    completed(lease, cache)

    assert (cache.taken, cache.refused) == (1, 0)


def test_what_another_worker_wrote_is_read_and_nothing_else(begun, cache):
    run, lease = begun
    mine = cache.pop(run.id)
    completed(lease, RunCache())

    cache.put(mine)
    after = loaded(run, cache)

    assert after is mine
    assert [(s.key, s.state, s.worker) for s in after.steps.values()] == [
        ("s0", "succeeded", "first"),
        ("s1", "running", "first"),
        ("s2", "pending", ""),
    ]


def test_a_change_that_another_worker_overtook_is_tried_again_without_the_lock(
    proposer, operator, cache
):
    text = plan(*(step(f"s{number}") for number in range(4)), parallel=True)
    run = approved(text, proposer, operator)
    mine = claimed(run.steps.get(key="s0"), cache)
    other = claimed(run.steps.get(key="s1"), RunCache())
    completed(other, RunCache())

    with CaptureQueriesContext(connection) as orm:
        following = completed(mine, cache)

    assert (cache.taken, cache.refused) == (1, 1)
    assert orm.captured_queries == []
    assert following.key == "s3"
    assert states(run) == {
        "s0": "succeeded",
        "s1": "succeeded",
        "s2": "running",
        "s3": "running",
    }


def test_a_change_that_is_refused_leaves_what_is_remembered_as_it_was(begun, cache):
    run, lease = begun
    mine = cache.pop(run.id)
    other = completed(lease, RunCache())

    refused = RunChange(loaded=mine, by=attempts.BY, at=clock.now(), is_locked=False)
    refused.move_step(refused.step(lease.step_run_id), StepEvent.SUCCEEDED)

    assert not refused.close()
    refused.undo()

    cache.put(mine)
    assert [step.state for step in mine.steps.values()] == ["running", *["pending"] * 2]
    assert completed(other, cache) is not None
    assert states(run) == {"s0": "succeeded", "s1": "succeeded", "s2": "running"}


def test_a_policy_made_meanwhile_is_asked_for(begun, cache, admin):
    run, lease = begun
    draft = Rule(
        name="everything",
        reason="Everything of the laboratory is asked for.",
        requirements=(Requirement("operator", 1),),
        skill="lab",
    )
    approvals.publish_policy(draft=draft, by=admin.actor(), at=clock.now())

    assert completed(lease, cache) is None

    assert states(run) == {"s0": "succeeded", "s1": "gated", "s2": "pending"}


def test_what_a_step_yielded_is_read_when_it_is_used(
    proposer, operator, cache, witness
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
    lease = claimed(run.steps.get(key="source"), cache)
    lease = completed(lease, cache, {"value": "agreed"})
    assert lease is not None
    StepRun.objects.filter(run=run, key="source").update(output={"value": "forged"})

    assert completed(lease, cache) is None

    assert states(run)["effect"] == "failed"
    assert witness.read() == []


def test_a_result_survives_the_loss_of_the_connection(
    proposer, operator, worker, witness
):
    text = plan(step("effect", "witness", params={"mark": "once", "after": 1.5}))
    run = approved(text, proposer, operator)
    mine = backend()
    cut = threading.Thread(target=end_backend, args=[mine, witness])
    cut.start()

    driven(run, worker)
    cut.join()

    assert backend() != mine
    assert states(run) == {"effect": "succeeded"}
    assert outputs(run) == {"effect": {"mark": "once"}}
    assert len(witness.read()) == 1


def backend() -> int:
    """Return the server process of this thread's connection."""
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


def test_only_so_many_runs_are_remembered(cache, begun):
    run, _ = begun
    one = cache.pop(run.id)
    for number in range(loading.CACHED_RUNS + 1):
        other = replace(one, run=copy(one.run))
        other.run.id = UUID(int=number)
        cache.put(other)

    assert cache.pop(UUID(int=0)) is None
    assert cache.pop(UUID(int=loading.CACHED_RUNS)) is not None
