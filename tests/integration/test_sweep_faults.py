"""Whatever statement of a sweep fails, the next sweep does what is due."""

from itertools import count

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection

from execfabric.lib import clock
from orchestration.runs.models import Attempt, Run, SweepFailure
from orchestration.runs.services import sweep
from tests.builders import approved, claimed, plan, step

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]


def executed(statement, *values):
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


class Faults:
    """Raises once, before or after the statement of a number."""

    def __init__(self, monkeypatch, error, *, cut):
        self.error, self.cut = error, cut
        self.left = 0
        real = psycopg.Cursor.execute

        def execute(cursor, *args, **kwargs):
            self.left -= 1
            if self.left == 0 and self.cut:
                cursor.connection.close()
            if self.left == 0:
                raise self.error
            return real(cursor, *args, **kwargs)

        monkeypatch.setattr(psycopg.Cursor, "execute", execute)

    def at(self, number):
        self.left = number

    def over(self):
        """Return True if the fault has happened."""
        happened, self.left = self.left <= 0, 0
        return happened


@pytest.fixture(
    params=[
        pytest.param((TypeError("it broke"), False), id="a bug"),
        pytest.param((psycopg.OperationalError("it broke"), True), id="a cut"),
    ]
)
def faults(request, monkeypatch):
    error, cut = request.param
    return Faults(monkeypatch, error, cut=cut)


def test_a_fault_at_any_statement_costs_a_sweep_nothing_for_long(
    faults, proposer, operator
):
    text = plan(step("one", "witness-again", params={"mark": "x"}))
    run = approved(text, proposer, operator)
    waits = approved(plan(step("two"), id="two"), proposer, operator)
    for number in count(1):
        due(run, waits)

        faults.at(number)
        call_command("keeper", "--once")
        happened = faults.over()
        sweep.sweep(at=clock.now())

        states = [state for (state,) in run.steps.values_list("state")]
        assert states == ["ready"], number
        assert Run.objects.get(pk=waits.pk).state == "paused", number
        assert not Attempt.objects.filter(ended_at=None).exists(), number
        assert not SweepFailure.objects.exists(), number
        if not happened:
            break

    assert number > 20


def due(run, waits):
    """Lose the worker of one run, and have the other wait for the end of a pause."""
    # A step is given up after a few losses; here each is the first.
    executed("UPDATE runs_attempt SET generation = 0")
    assert claimed(run, "one") is not None
    executed(
        "UPDATE runs_steprun SET lease_until = clock_timestamp() - interval '1 s'"
        " WHERE run_id = %s",
        run.id,
    )
    executed(
        "UPDATE runs_run SET state = 'pausing', reason = '' WHERE id = %s", waits.id
    )
