"""A change of a run is committed as a whole or not at all, whatever happens to it."""

from contextlib import suppress

import pytest
from django.db import connection, transaction
from django.db.transaction import TransactionManagementError

from audit import services as audit
from audit.services import Fact
from execfabric.lib import clock
from execfabric.lib.machine import StaleTransition
from orchestration.runs.control import control, gates
from orchestration.runs.engine import attempts
from orchestration.runs.engine.locking import locked_change
from orchestration.runs.keeper import sweep
from tests.builders import approved, chain, decided, open_gate, plan, proposed, step

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]


@pytest.fixture
def run(proposer, operator):
    """Return a run whose first step is ready."""
    return approved(chain(2), proposer, operator)


def events(run):
    """How many events the run's stream has."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT last_seq FROM audit_stream WHERE key = %s", [run.stream])
        return cursor.fetchone()[0]


def fail_inside():
    """Let a part of the transaction fail that has no savepoint of its own."""
    with suppress(ZeroDivisionError), transaction.atomic(savepoint=False):
        _ = 1 / 0


def give_up():
    """Say that the transaction is to be rolled back."""
    transaction.set_rollback(True)


def noted(run, then):
    """Change a run: one event, and something else before it is written."""
    with locked_change(run.id, by=attempts.BY, at=clock.now()) as change:
        change.record("test.noted", {})
        then()


@pytest.mark.parametrize("spoil", [fail_inside, give_up])
def test_what_has_to_be_rolled_back_is_not_committed_with_the_writes(spoil, run):
    before, told = events(run), []

    def spoiled():
        transaction.on_commit(lambda: told.append(True))
        spoil()

    with pytest.raises(TransactionManagementError):
        noted(run, spoiled)

    assert events(run) == before
    assert not told
    noted(run, lambda: None)
    assert events(run) == before + 1


# An INSERT of several rows has one command id, and each has its transaction's id.
APPENDS = """
SELECT array_agg(kind ORDER BY seq) FROM audit_event WHERE stream = %s
GROUP BY xmin::text, cmin::text ORDER BY min(seq)
"""
CHANGES = "SELECT count(DISTINCT xmin::text) FROM audit_event WHERE stream = %s"


def appends(run):
    """Return the kinds of the run's events, by the statement that appended them."""
    with connection.cursor() as cursor:
        cursor.execute(CHANGES, [run.stream])
        [changes] = cursor.fetchone()
        cursor.execute(APPENDS, [run.stream])
        found = [kinds for (kinds,) in cursor.fetchall()]
    assert len(found) == changes
    return found


def test_a_change_that_opens_and_ends_gates_appends_once(proposer, operator):
    text = plan(step("one", "risky"), step("two", "risky"), parallel={"max": 2})
    run = approved(text, proposer, operator)

    decided(open_gate(run, "one"), operator)
    late = open_gate(run, "two").expires_at
    gates.expire(
        gate_id=open_gate(run, "two").pk, context_id=run.pk, by=sweep.BY, at=late
    )
    cancelled = proposed(text, proposer)
    control.cancel(run_id=cancelled.pk, by=operator.actor(), at=clock.now())

    asked = ["gate.requested", "step.gate_opened"]
    assert appends(run)[2:] == [
        ["gate.decided", "gate.approved", "run.approved", *asked, *asked],
        ["gate.decided", "gate.approved", "step.gate_approved"],
        ["gate.expired", "step.gate_rejected", "step.cancelled", "run.expired"],
    ]
    assert appends(cancelled)[2:] == [
        [
            "run.cancel_requested",
            "gate.withdrawn",
            *["step.cancelled"] * 2,
            "run.cancelled",
        ],
    ]


def test_a_change_that_cannot_be_written_after_the_end_it_read_fails(run):
    before = events(run)

    def append_too():
        by, at = attempts.BY, clock.now()
        audit.append(run.stream, [Fact("test.other", {})], by=by, at=at)

    with pytest.raises(StaleTransition):
        noted(run, append_too)

    assert events(run) == before
