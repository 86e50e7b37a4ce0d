"""What failed steps mean for their run."""

import pytest

from orchestration.runs.domain.failure_policy import (
    Reaction,
    counts,
    reaction_to,
    rollback_after,
    sentence,
)

PAUSE, ABORT, CONTINUE, ROLLBACK = (
    Reaction.PAUSE,
    Reaction.ABORT,
    Reaction.CONTINUE,
    Reaction.ROLLBACK,
)


@pytest.mark.parametrize(
    ("on_failure", "failed", "failures", "after", "wanted"),
    [
        # no step has failed
        ("rollback", [], 0, 1, CONTINUE),
        # the plan decides
        ("pause", [""], 1, 0, PAUSE),
        ("abort", [""], 1, 0, ABORT),
        ("continue", [""], 1, 0, CONTINUE),
        ("rollback", [""], 1, 0, ROLLBACK),
        # the step overrides the plan
        ("pause", ["abort"], 1, 0, ABORT),
        ("abort", ["continue"], 1, 0, CONTINUE),
        ("continue", ["rollback"], 1, 0, ROLLBACK),
        ("rollback", ["pause"], 1, 0, PAUSE),
        # the strongest reaction of several failed steps wins
        ("continue", ["", "pause"], 2, 0, PAUSE),
        ("pause", ["continue", "abort"], 2, 0, ABORT),
        ("abort", ["", "rollback", "continue"], 3, 0, ROLLBACK),
        # the number of failures decides over everything else
        ("pause", [""], 1, 2, PAUSE),
        ("pause", [""], 2, 2, ROLLBACK),
        ("pause", [""], 5, 2, ROLLBACK),
        ("continue", [""], 2, 3, CONTINUE),
        ("continue", [""], 3, 3, ROLLBACK),
        ("abort", [""], 1, 2, ABORT),
        ("abort", ["pause"], 2, 2, ROLLBACK),
        ("pause", [""], 9, 0, PAUSE),
    ],
)
def test_a_failure_has_one_reaction(on_failure, failed, failures, after, wanted):
    found = reaction_to(
        failed, on_failure=on_failure, failures=failures, rollback_after=after
    )

    assert found is wanted


@pytest.mark.parametrize(
    ("written", "on_failure", "has_undo", "wanted"),
    [
        (None, "pause", True, 2),
        (None, "pause", False, 0),
        (None, "abort", True, 0),
        (None, "continue", True, 0),
        (None, "rollback", True, 0),
        (0, "pause", True, 0),
        (3, "continue", False, 3),
    ],
)
def test_a_plan_with_an_undo_that_pauses_is_rolled_back_at_the_second_failure(
    written, on_failure, has_undo, wanted
):
    assert rollback_after(written, on_failure=on_failure, has_undo=has_undo) == wanted


def test_only_a_step_that_may_fail_does_not_count():
    assert [on for on in ("", *Reaction) if not counts(on)] == ["continue"]


@pytest.mark.parametrize(
    ("on_failure", "after", "wanted"),
    [
        ("pause", 0, "If a step fails, the run pauses."),
        (
            "pause",
            2,
            (
                "If a step fails, the run pauses. After 2 failures, finished steps are"
                " undone in reverse order."
            ),
        ),
        ("abort", 1, "If a step fails, finished steps are undone in reverse order."),
        ("rollback", 3, "If a step fails, finished steps are undone in reverse order."),
        ("continue", 0, "If a step fails, the other steps continue."),
    ],
)
def test_approvers_read_what_a_failure_means(on_failure, after, wanted):
    assert sentence(on_failure, after) == wanted
