"""Do things at the same time, and ask the database what it refuses."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from execfabric.lib.refusal import Refusal
from orchestration.runs.models import Attempt


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """Do all acts at the same time, each on its own connection.

    Return the results; of a refused act the code.
    """
    start = Barrier(len(acts))

    def one(act: Callable[[], Any]) -> Any:
        try:
            start.wait(timeout=30)
            return act()
        except Refusal as error:
            return error.code
        finally:
            connection.close()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(one, acts))


def record_attempts(ago: timedelta, attempts: Iterable[Attempt] | None = None) -> None:
    """Move the times at which attempts were recorded, which the database refuses."""
    pks = [one.pk for one in (Attempt.objects.all() if attempts is None else attempts)]
    with transaction.atomic(), connection.cursor() as cursor:
        # A table with checks that are still due cannot be altered.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("ALTER TABLE runs_attempt DISABLE TRIGGER fixed_time")
        cursor.execute(
            "UPDATE runs_attempt SET recorded_at = clock_timestamp() - %s"
            " WHERE id = ANY(%s)",
            [ago, pks],
        )
        cursor.execute("ALTER TABLE runs_attempt ENABLE TRIGGER fixed_time")


def refuses(statement: str) -> None:
    """Check that the database refuses to change a table whose rows are only added."""
    with (
        pytest.raises(IntegrityError, match="insert-only"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(statement)


def forged(statement: str, *values: object, tables: Sequence[str]) -> int:
    """Execute a statement as the owner of tables could; return the number of rows."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        cursor.execute(statement, values)
        count = cursor.rowcount
        for table in tables:
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
    return count
