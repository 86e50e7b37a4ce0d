"""Random plans with every construct on the real engine, against a reference interpreter.

Each plan is written, read and validated like any other. Workers, users and time then act
in random order. After every act the states are those of the reference, which refuses every
start that is too early, a second time or out of turn.
"""

import os
from collections import Counter
from typing import Any

from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from orchestration.runs.domain.states import STEP_RUN, StepState
from tests.memory_runs import without_database
from tests.plan_shapes import Plan
from tests.random_courses import Course
from tests.random_plans import documents, plans

USUAL = 1000
PLANS = int(os.environ.get("EXECFABRIC_RANDOM_PLANS", str(USUAL)))
S = StepState
RESUMES = 3
NOT_IN_MEMORY = {
    (S.PENDING, S.RUNNING),
    (S.GATED, S.PENDING),
    (S.INDETERMINATE, S.CANCELLED),
    # By a user: test_guided_search.py explores them.
    (S.FAILED, S.SKIPPED),
    (S.FAILED, S.SUCCEEDED),
    # only in a rollback
    (S.REJECTED, S.PENDING),
    (S.REJECTED, S.SKIPPED),
    (S.REJECTED, S.SUCCEEDED),
    (S.CANCELLED, S.PENDING),
    (S.SUCCEEDED, S.COMPENSATED),
    (S.SUCCEEDED, S.COMPENSATION_FAILED),
    (S.COMPENSATION_FAILED, S.COMPENSATED),
}
RARE = {
    (S.BACKOFF, S.CANCELLED),
    (S.BACKOFF, S.SKIPPED),
    (S.FALLING_BACK, S.REJECTED),
    (S.RUNNING, S.CANCELLED),
    (S.WAITING, S.SKIPPED),
}
"""Moves of steps that these plans make never, or perhaps not."""


@st.composite
def courses(draw: st.DrawFn) -> dict[str, Any]:
    budget = {
        "pause": draw(st.integers(0, 1)),
        "cancel": int(draw(st.integers(0, 5)) == 3),
    }
    budget |= {"change": 1, "lost": draw(st.integers(0, 3)), "resume": RESUMES}
    flaws = draw(st.frozensets(st.integers(1, 8), max_size=1))
    return {"n": draw(st.integers(1, 3)), "budget": budget, "flaws": flaws}


def test_every_plan_runs_as_the_reference_says():
    moves: Counter[tuple[str, str]] = Counter()

    @settings(
        max_examples=PLANS,
        deadline=None,
        derandomize=True,
        database=None,
        report_multiple_bugs=False,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(plan=plans(), course=courses(), data=st.data())
    def compare(plan: Plan, course: dict[str, Any], data: st.DataObject) -> None:
        run = Course(plan, data, **course)
        with without_database(lambda: run.run):
            try:
                run.drive()
            except Exception:
                note("\n".join([*documents(plan).values(), *run.trace]))
                raise
        moves.update(run.moves)

    compare()

    table = {(source, target) for source, _, target in STEP_RUN.rows}
    never = table - moves.keys() - NOT_IN_MEMORY - RARE
    assert PLANS < USUAL or not never, "the plans are too simple"
