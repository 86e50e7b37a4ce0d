"""What the database holds of runs, steps and attempts, whoever writes."""

from itertools import product

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import Model

from execfabric.lib import clock
from orchestration.runs.domain.states import (
    FINAL_RUN,
    FINAL_STEP,
    Phase,
    RunState,
    StepState,
)
from orchestration.runs.models import Attempt, ExecSpec, StepRun
from tests.builders import plan, proposed, step

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry")]
AT = clock.now()
LIVE = {Phase.CLAIMED, Phase.INTENT}


@pytest.fixture
def row(proposer) -> StepRun:
    return proposed(plan(step("one")), proposer).steps.get()


@pytest.fixture
def spec(db) -> ExecSpec:
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO runs_execspec (digest, body) SELECT encode(sha256("
            "convert_to('execfabric/action/v1', 'UTF8') || '\\x0a'::bytea || '{}'),"
            " 'hex'), '{}'::bytea RETURNING digest"
        )
        return ExecSpec.objects.get(pk=cursor.fetchone()[0])


def refused_by(row: Model, **columns: object) -> str:
    """Return the check that refuses these columns; empty if none does."""
    try:
        with transaction.atomic():
            type(row).objects.filter(pk=row.pk).update(**columns)
            transaction.set_rollback(True)
    except IntegrityError as error:
        return str(error.__cause__.diag.constraint_name)
    return ""


@pytest.mark.parametrize("state", StepState)
def test_a_step_has_an_end_a_lease_and_a_spec_exactly_where_its_state_says_so(
    state, row, spec
):
    is_left_out = state == StepState.SKIPPED_BY_CONDITION
    condition = {"result": False} if is_left_out else None
    needed = {
        StepState.QUEUED: {"concurrency_key": "k"},
        StepState.WAITING: {"kind": "wait", "not_before": AT},
    }.get(state, {})
    for ended, leased, has_spec in product((None, AT), (None, AT), (None, spec)):
        name = refused_by(
            row,
            state=state,
            finished_at=ended,
            lease_until=leased,
            spec=has_spec,
            condition=condition,
            **needed,
        )

        wanted = set()
        if (ended is not None) != (state in FINAL_STEP):
            wanted.add("step_run_finished_at_iff_final")
        if (leased is not None) != (state == StepState.RUNNING):
            wanted.add("step_run_lease_iff_running")
        if has_spec is None and state in {StepState.READY, StepState.RUNNING}:
            wanted.add("step_run_at_work_has_spec")
        if state == StepState.EXPANDED:
            wanted.add("step_run_expanded_is_container")
        assert name in (wanted or {""})


@pytest.mark.parametrize("state", RunState)
def test_a_run_has_an_end_exactly_where_its_state_is_final(state, row):
    needed = {"concurrency_key": "k"} if state == RunState.QUEUED else {}
    for ended in (None, AT):
        name = refused_by(row.run, state=state, finished_at=ended, **needed)

        is_right = (ended is not None) == (state in FINAL_RUN)
        assert name == ("" if is_right else "run_finished_at_iff_final")


@pytest.mark.parametrize("phase", Phase)
def test_an_attempt_has_an_end_exactly_where_it_is_over(phase, row, spec):
    made = Attempt.objects.create(
        step_run=row, fence=1, generation=1, phase="intent", spec=spec, started_at=AT
    )
    for ended in (None, AT):
        name = refused_by(made, phase=phase, ended_at=ended)

        is_right = (ended is None) == (phase in LIVE)
        assert name == ("" if is_right else "attempt_ended_at_iff_over")


@pytest.mark.parametrize(
    ("columns", "name"),
    [
        pytest.param({"state": "draft"}, "step_run_state_is_known", id="state"),
        pytest.param({"tries": -1}, "step_run_tries_are_bounded", id="tries below 0"),
        pytest.param({"tries": 2}, "step_run_tries_are_bounded", id="too many tries"),
        pytest.param(
            {"max_attempts": -1}, "step_run_tries_are_bounded", id="attempts below 0"
        ),
        pytest.param({"tries": 1}, "", id="the last try"),
    ],
)
def test_a_step_has_a_known_state_and_no_more_tries_than_it_may(columns, name, row):
    assert row.max_attempts == 1
    assert refused_by(row, **columns) == name


def test_states_that_are_not_known_are_refused(row, spec):
    made = Attempt.objects.create(
        step_run=row, fence=1, generation=1, phase="intent", spec=spec, started_at=AT
    )

    assert refused_by(row.run, state="draft") == "run_state_is_known"
    assert refused_by(made, phase="draft") == "attempt_phase_is_known"
