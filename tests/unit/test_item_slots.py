"""Which items of a list count for its `max`."""

import pytest

from orchestration.runs.domain.members import Group
from orchestration.runs.domain.progress import Progress, StepStatus
from orchestration.runs.domain.states import StepState

S = StepState
LIST, FALLBACK = "list", "fallback"


@pytest.fixture
def progress():
    """Return a list of two items, one at once, the first of which is ready."""
    made = Progress([], parallel_max=4)
    made.add(StepStatus(LIST, "list", S.EXPANDED, group=Group(max=1)))
    for item in (0, 1):
        made.add(
            StepStatus(item, "item", S.PENDING, parent=LIST, has_fallback=item == 0)
        )
    made.moved(0, S.READY)
    return made


def released(progress):
    return [step.key for step in progress.releasable(9)]


@pytest.mark.parametrize(
    "state", [S.READY, S.RUNNING, S.BACKOFF, S.EXPANDED, S.FALLING_BACK]
)
def test_an_item_at_work_takes_a_slot(progress, state):
    progress.moved(0, state)

    assert released(progress) == []


@pytest.mark.parametrize("state", [S.GATED, S.QUEUED, S.SUCCEEDED])
def test_an_item_that_waits_or_has_ended_takes_none(progress, state):
    progress.moved(0, state)

    assert released(progress) == [1]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (S.PENDING, [FALLBACK]),
        (S.READY, []),
        (S.RUNNING, []),
        (S.SUCCEEDED, []),
        (S.QUEUED, [1]),
        (S.GATED, [1]),
    ],
)
@pytest.mark.parametrize("is_added_so", [True, False])
def test_a_fallback_counts_in_place_of_its_item(progress, state, expected, is_added_so):
    progress.moved(0, S.FALLING_BACK)
    first = state if is_added_so else S.PENDING
    progress.add(StepStatus(FALLBACK, "fallback", first, parent=0))
    progress.moved(FALLBACK, state)

    assert released(progress) == expected


def test_a_fallback_starts_only_if_no_item_runs(progress):
    progress.moved(0, S.FALLING_BACK)
    progress.add(StepStatus(FALLBACK, "fallback", S.QUEUED, parent=0))
    progress.moved(1, S.RUNNING)
    progress.moved(FALLBACK, S.READY)
    assert not progress.may_claim(FALLBACK)

    progress.moved(1, S.SUCCEEDED)
    assert progress.startable(9) == [FALLBACK]
