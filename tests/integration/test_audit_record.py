"""The record in the database: nothing changes it, and what does is found and named."""

import dataclasses
import io
import threading
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import IntegrityError, connection, transaction

from approvals.models import Decision
from audit import selectors as record
from audit import services as audit
from audit.domain.chain import COLUMNS, Link
from audit.errors import NotInTransaction
from audit.models import Event
from audit.services import Fact
from execfabric.lib import clock
from execfabric.lib.actor import system
from execfabric.local.layout import DataDir
from tests.builders import approved, chain, decided, driven, open_gate, plan, step
from tests.database import forged

BY = system("setup")
no_truncate: Any = import_module("orchestration.runs.migrations.0005_refuse_truncate")


def appended(stream: str, count: int = 3) -> str:
    with transaction.atomic():
        facts = [Fact("test.happened", {"n": number}) for number in range(count)]
        audit.append(stream, facts, by=BY, at=clock.now())
    return stream


past_the_triggers = partial(forged, tables=["audit_event"])


def verify_trace(*arguments: str) -> tuple[int, str]:
    """Exit code and output of the command."""
    out = io.StringIO()
    try:
        call_command("verify_trace", *arguments, stdout=out)
    except CommandError as error:
        return error.returncode, out.getvalue()
    return 0, out.getvalue()


@pytest.mark.django_db(transaction=True)
def test_an_event_is_appended_in_a_transaction_or_not_at_all():
    with pytest.raises(NotInTransaction):
        audit.append("test", [Fact("test.happened", {})], by=BY, at=clock.now())


@pytest.mark.django_db
def test_a_fact_whose_transaction_fails_is_no_event():
    appended("test")

    with transaction.atomic():
        appended("test")
        transaction.set_rollback(True)

    assert record.head("test") == 3
    assert record.verify_chain("test").broken is None


@pytest.mark.django_db
@pytest.mark.promise("S3.85")
@pytest.mark.usefixtures("registry")
def test_one_changed_byte_of_a_run_is_named_by_the_command(proposer, operator, worker):
    run = driven(approved(chain(2), proposer, operator), worker)
    whole = verify_trace(run.stream)
    envelopes = [record.envelope(one) for one in record.events_after(run.stream, 0)]
    seq = record.head(run.stream) // 2
    with pytest.raises(IntegrityError, match="insert-only"), transaction.atomic():
        Event.objects.filter(stream_id=run.stream, seq=seq).update(kind="other")

    past_the_triggers(
        "UPDATE audit_event SET body = set_byte(body, 20, get_byte(body, 20) # 1)"
        " WHERE stream = %s AND seq = %s",
        run.stream,
        seq,
    )
    code, text = verify_trace(run.stream)
    all_code, all_text = verify_trace()

    assert envelopes[0]["payload"]["digest"] == run.revision.digest
    assert all(one["sessionId"] and one["traceId"] for one in envelopes)
    assert whole[0] == 0
    assert f"ok      {run.stream}" in whole[1]
    assert code == all_code == 1
    assert f"BROKEN  {run.stream} at seq {seq}:" in text
    assert text.strip() in all_text
    assert "ok      registry" in all_text


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("statement", "seq"),
    [
        ("DELETE FROM audit_event WHERE stream = 'test' AND seq = 2", 2),
        ("DELETE FROM audit_event WHERE stream = 'test' AND seq = 3", 3),
        (
            "UPDATE audit_event SET actor = 'user:1' WHERE stream = 'test' AND seq = 2",
            2,
        ),
        (
            "UPDATE audit_event SET actor_name = 'M' WHERE stream = 'test' AND seq = 2",
            2,
        ),
        ("UPDATE audit_event SET seq = seq + 10 WHERE stream = 'test' AND seq = 2", 2),
        (
            "UPDATE audit_event SET hash = sha256(hash) WHERE stream = 'test' AND seq = 1",
            1,
        ),
    ],
)
def test_what_is_done_past_the_triggers_is_found(statement, seq):
    appended("test")

    past_the_triggers(statement)

    broken = record.verify_chain("test").broken
    assert broken is not None
    assert broken.seq == seq


def test_every_column_of_an_event_is_compared_with_its_body():
    columns = {field.column for field in Event._meta.concrete_fields}

    assert columns == {field.name for field in dataclasses.fields(Link)}
    assert set(COLUMNS) == columns - {"body", "hash"}


@pytest.mark.django_db
def test_the_trace_is_in_an_order_that_is_verified():
    appended("one")
    appended("two")

    whole = [(e.stream_id, e.seq) for e in record.search(record.Filter())]
    one = [e.seq for e in record.search(record.Filter(stream="one"))]

    expected = [("two", 3), ("two", 2), ("two", 1), ("one", 3), ("one", 2), ("one", 1)]
    assert whole[:6] == expected
    assert one == [3, 2, 1]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("query", "index"),
    [
        pytest.param(record.Filter(), "event_by_time", id="newest first"),
        pytest.param(record.Filter(kind="x"), "event_by_time", id="kind"),
        pytest.param(record.Filter(trace_id="0" * 32), "event_of_trace", id="trace"),
        pytest.param(record.Filter(stream="one"), "event_has_one_place", id="stream"),
    ],
)
def test_the_trace_page_finds_its_events_by_an_index(query, index):
    appended("one")
    with connection.cursor() as cursor:
        # The planner would read a table of a few rows as a whole.
        cursor.execute("SET LOCAL enable_seqscan = off")

    plan = record.search(query)[:50].explain()

    assert index in plan


@pytest.mark.django_db
def test_a_stream_that_does_not_exist_is_another_answer_than_a_broken_one():
    assert verify_trace("run:nobody")[0] == 2


@pytest.mark.django_db
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_event SET kind = 'x' WHERE stream = 'test'",
        "UPDATE audit_event SET body = body WHERE stream = 'test'",
        "DELETE FROM audit_event WHERE stream = 'test' AND seq = 3",
        "DELETE FROM audit_stream WHERE key = 'test'",
        "UPDATE audit_stream SET last_seq = 1 WHERE key = 'test'",
        "UPDATE audit_stream SET head = sha256(head) WHERE key = 'test'",
        "UPDATE audit_stream SET key = 'other' WHERE key = 'test'",
    ],
)
def test_even_the_owner_of_the_tables_is_refused(statement):
    appended("test")

    with (
        pytest.raises(IntegrityError, match=r"insert-only|only moves forward"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)

    assert record.verify_chain("test").broken is None


OF_TRIGGERS = ("schedule", "firing", "hook", "delivery")
OF_EVENTS = ("externalevent", "eventmatch", "eventwait")
OF_ARTIFACTS = ("namedartifact", "artifactversion", "artifactsource")
NEVER_EMPTIED = (
    *no_truncate.TABLES,
    *(f"triggers_{name}" for name in OF_TRIGGERS),
    *(f"runs_{name}" for name in (*OF_EVENTS, *OF_ARTIFACTS, "stop")),
)


@pytest.mark.django_db
@pytest.mark.parametrize("table", NEVER_EMPTIED)
def test_not_even_the_owner_empties_a_table(table):
    with (
        connection.cursor() as cursor,
        pytest.raises(IntegrityError, match="insert-only"),
    ):
        cursor.execute(f"TRUNCATE {table} CASCADE")


@pytest.mark.django_db
def test_every_table_with_a_guard_refuses_to_be_emptied():
    # The triggers left out count writes and order them with stops, or guard one column.
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger"
            " JOIN pg_proc ON pg_proc.oid = tgfoid WHERE NOT tgisinternal"
            " AND proname !~ '^runs_(outside|run|steprun|gate|attempt)_'"
            " AND tgname <> 'fixed_time'"
        )
        guarded = {table for (table,) in cursor.fetchall()}

    assert guarded == set(NEVER_EMPTIED)


@pytest.fixture
def as_app(transactional_db: None) -> Iterator[psycopg.Connection[Any]]:
    """Open a connection with the role of web, worker and keeper."""
    call_command("grant_app_role", stdout=io.StringIO())
    known = connection.settings_dict
    role = settings.APP_DATABASE_ROLE
    with psycopg.connect(
        host=known["HOST"],
        port=known["PORT"],
        dbname=known["NAME"],
        user=role,
        password=DataDir(settings.DATA_DIR).key(role),
        autocommit=True,
    ) as made:
        yield made


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit_event SET kind = 'x'",
        "DELETE FROM audit_event",
        "TRUNCATE audit_event",
        "TRUNCATE audit_event, audit_stream CASCADE",
        "DELETE FROM audit_stream",
        "UPDATE approvals_decision SET approve = true",
        "DELETE FROM approvals_decision",
        "TRUNCATE approvals_decision",
        "ALTER TABLE audit_event DISABLE TRIGGER USER",
        "DROP TRIGGER insert_only ON audit_event",
        "CREATE RULE quiet AS ON INSERT TO audit_event DO INSTEAD NOTHING",
        "ALTER TABLE audit_event OWNER TO CURRENT_USER",
        "DROP TABLE audit_event",
        "SET session_replication_role = replica",
        "ALTER FUNCTION refuse_change() RENAME TO allow_change",
    ],
)
def test_the_application_may_not_touch_the_record(statement, as_app):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        as_app.execute(statement)


def test_the_application_may_add_to_the_record(as_app):
    row = as_app.execute(
        "SELECT has_table_privilege('audit_event', 'SELECT, INSERT'),"
        " has_table_privilege('audit_event', 'UPDATE, DELETE, TRUNCATE')"
    ).fetchone()

    assert row == (True, False)


@pytest.mark.django_db(transaction=True)
def test_two_writers_leave_no_gap_and_a_reader_misses_nothing():
    each, seen = 25, []
    failed: list[Exception] = []

    def write() -> None:
        try:
            for _ in range(each):
                appended("shared", 2)
        except Exception as error:  # noqa: BLE001  told to the main thread
            failed.append(error)
        finally:
            connection.close()

    writers = [threading.Thread(target=write) for _ in range(2)]
    _started(writers)
    while any(writer.is_alive() for writer in writers):
        seen += _new(seen)
    seen += _new(seen)

    assert failed == []
    assert seen == list(range(1, 4 * each + 1))
    assert record.verify_chain("shared").broken is None


def _new(seen: list[int]) -> list[int]:
    """Return the next events of a reader that follows the stream."""
    found = record.events_after("shared", seen[-1] if seen else 0)
    return [event.seq for event in found]


def _started(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()


@pytest.mark.django_db
@pytest.mark.usefixtures("registry")
def test_who_decided_outlives_their_account(proposer, operator, worker):
    run = approved(plan(step("risky", "risky")), proposer, operator)
    decided(open_gate(run, "risky"), operator, comment="Seen and found good.")
    key, name = operator.actor().key, operator.get_username()

    run = driven(run, worker)
    operator.delete()

    told = [record.envelope(e)["actor"] for e in Event.objects.filter(actor=key)]
    assert run.state == "succeeded"
    assert {d.voter_name for d in Decision.objects.filter(voter_key=key)} == {name}
    assert told
    assert all(
        who == {"kind": "user", "id": key.split(":")[1], "name": name} for who in told
    )
    assert record.verify_chain(run.stream).broken is None
