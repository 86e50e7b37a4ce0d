"""A change of a run is committed as a whole or not at all, whatever happens to it."""

from contextlib import suppress

import pytest
from django.db import connection, transaction
from django.db.transaction import TransactionManagementError

from execfabric.lib import clock
from orchestration.runs.services import work
from orchestration.runs.services.loading import Memory
from orchestration.runs.services.transitions import change
from tests.builders import approved, chain

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]


@pytest.fixture
def run(proposer, operator):
    """A run whose first step is ready."""
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


def noted(run, memory, then):
    """Change a run: one event, and something else before it is written."""
    with change(run.id, by=work.BY, at=clock.now(), memory=memory) as opened:
        opened.record("test.noted", {})
        then()


@pytest.mark.parametrize("spoil", [fail_inside, give_up])
def test_what_has_to_be_rolled_back_is_not_committed_with_the_writes(spoil, run):
    memory, before, told = Memory(), events(run), []

    def spoiled():
        transaction.on_commit(lambda: told.append(True))
        spoil()

    with pytest.raises(TransactionManagementError):
        noted(run, memory, spoiled)

    assert events(run) == before
    assert not told
    assert memory.take(run.id) is None
    noted(run, memory, lambda: None)
    assert events(run) == before + 1
