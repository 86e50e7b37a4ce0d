"""A result that is there reaches the record, whatever the server is going through."""

import threading
import time
from contextlib import closing, suppress

import psycopg
import pytest
from django.db import ProgrammingError, connection, transaction

from execfabric.infra import database
from orchestration.runs.models import Run
from tests.builders import (
    approved,
    chain,
    claimed,
    completed,
    driven,
    plan,
    states,
    step,
)

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]
OF_WORKER = "ALTER TABLE runs_steprun ALTER COLUMN worker TYPE"
READ_ONLY = "default_transaction_read_only"


def executed(*statements):
    """Execute statements on this thread's connection."""
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@pytest.fixture
def migrated():
    """Change the type of a column, which voids prepared statements."""
    yield lambda: executed(f"{OF_WORKER} text")
    executed(f"{OF_WORKER} varchar(120)")


@pytest.fixture
def read_only():
    """For a second the server is a copy that takes no writes yet, as at a failover."""
    name = connection.settings_dict["NAME"]
    others = "FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = %s"

    def happens():
        executed(f'ALTER DATABASE "{name}" SET {READ_ONLY} = on')
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT pg_terminate_backend(pid) {others}", [name])
        time.sleep(1)
        back()

    def back():
        executed(f"SET {READ_ONLY} = off", f'ALTER DATABASE "{name}" RESET {READ_ONLY}')

    yield happens
    back()


@pytest.fixture(params=["runs_logchunk", "runs_artifactuse"])
def cut(request):
    """Break the connection at the first write to a table of a step."""
    table = request.param
    executed(
        "CREATE SEQUENCE pieces",
        """CREATE FUNCTION cut_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('pieces') = 1 THEN
          PERFORM pg_terminate_backend(pg_backend_pid());
          PERFORM pg_sleep(1);
        END IF;
        RETURN NEW; END $$""",
        f"CREATE TRIGGER cut BEFORE INSERT ON {table}"
        " FOR EACH ROW EXECUTE FUNCTION cut_once()",
    )
    yield
    executed(
        f"DROP TRIGGER cut ON {table}",
        "DROP FUNCTION cut_once()",
        "DROP SEQUENCE pieces",
    )


@pytest.mark.usefixtures("cut")
def test_what_is_stored_before_the_result_does_not_cost_the_result(
    proposer, operator, worker
):
    speaks, writes = step("speaks", "secret"), step("writes", "write")
    writes |= {"params": {"text": "kept"}, "dependsOn": ["speaks"]}
    run = approved(plan(speaks, writes), proposer, operator)

    driven(run, worker)

    assert states(run) == {"speaks": "succeeded", "writes": "succeeded"}
    assert "the token is" in run.steps.get(key="speaks").log.get().text
    assert list(run.steps.get(key="writes").files) == ["note"]


@pytest.fixture
def run(settings, proposer, operator, worker, witness):
    """Prepare a run of one effect in the worker's session."""
    settings.HEARTBEAT_SECONDS = 0.2
    text = plan(step("effect", "witness", params={"mark": "once", "after": 0.6}))
    for _ in range(3):
        driven(approved(text, proposer, operator), worker)
    witness.path.unlink()
    return approved(text, proposer, operator)


@pytest.mark.parametrize("trouble", ["migrated", "read_only"])
def test_a_result_survives(trouble, request, run, worker, witness):
    happens = request.getfixturevalue(trouble)
    beside = threading.Thread(target=once_it_happened, args=[happens, witness])
    beside.start()

    driven(run, worker)
    beside.join()

    assert states(run) == {"effect": "succeeded"}
    assert len(witness.read()) == 1


def once_it_happened(then, witness):
    """Do something when the effect is there and its result is not yet."""
    with closing(connection):
        for _ in range(200):
            if witness.read():
                break
            time.sleep(0.02)
        then()


def left_in_a_transaction(monkeypatch):
    """Have an error that is none of the database's cut Django's `atomic` short."""
    with monkeypatch.context() as patched:
        patched.setattr(psycopg.Connection, "commit", broken)
        with suppress(ProgrammingError), transaction.atomic():
            Run.objects.count()
    assert not connection.get_autocommit()


def broken(*_):
    """Fail as no database does."""
    message = "broken"
    raise TypeError(message)


def test_a_claim_on_a_connection_left_in_a_transaction_is_committed(
    proposer, operator, monkeypatch
):
    run = approved(chain(1), proposer, operator)

    left_in_a_transaction(monkeypatch)
    claimed(run, "s0")
    connection.close()

    assert states(run) == {"s0": "running"}


def test_a_result_on_a_connection_left_in_a_transaction_is_committed(
    proposer, operator, monkeypatch
):
    run = approved(chain(2), proposer, operator)
    held = claimed(run, "s0")

    left_in_a_transaction(monkeypatch)
    completed(held)
    connection.close()

    assert states(run) == {"s0": "succeeded", "s1": "running"}


def test_a_keeper_leaves_a_transaction_that_was_left_open(monkeypatch):
    left_in_a_transaction(monkeypatch)

    database.restore()

    assert connection.get_autocommit()
