"""A test with real commits leaves the database as it found it."""

import pytest
from django.db import connection

from orchestration.skills.models import Skill
from tests import committed
from tests.builders import approved, chain, driven

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]


def rows() -> dict[str, list[str]]:
    """Return every row of every table."""
    found = {}
    with connection.cursor() as cursor:
        for table in committed.tables("public"):
            cursor.execute(f"SELECT row::text FROM public.{table} AS row ORDER BY 1")
            found[table] = [row for (row,) in cursor.fetchall()]
    return found


def test_the_rows_of_a_run_are_removed_and_changed_ones_put_back(request) -> None:
    before = rows()
    proposer, operator, worker = map(
        request.getfixturevalue, ("proposer", "operator", "worker")
    )
    driven(approved(chain(2), proposer, operator), worker)
    Skill.objects.update(state="deprecated")
    changed = rows()

    committed.restore()

    assert {table for table in before if before[table] != changed[table]} > {
        "runs_run",
        "skills_skill",
        "audit_event",
    }
    assert rows() == before
