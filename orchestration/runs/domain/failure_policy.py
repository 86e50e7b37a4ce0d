"""Decide what failed steps mean for their run: a pure function, the only one.

`onFailure` of the plan is the reaction to a failed step, and `onError` of the step
overrides it. Independently of both, the run is rolled back after a number of failures.
"""

from collections.abc import Iterable
from enum import StrEnum

DEFAULT_ROLLBACK_AFTER = 2
"""The first failure pauses the run, the second one rolls it back."""


class Reaction(StrEnum):
    """What a failed step means for its run; a later one wins over an earlier one."""

    CONTINUE = "continue"  # steps that can still run do
    PAUSE = "pause"  # the run waits for a user; resuming retries the step
    ABORT = "abort"  # nothing new starts, and the run fails
    ROLLBACK = "rollback"  # nothing new starts, and completed steps are undone


_STRENGTH = tuple(Reaction)


def reaction_to(
    failed: Iterable[str], *, on_failure: str, failures: int, rollback_after: int
) -> Reaction:
    """Return the reaction to the failed steps of a run.

    `failed` is the `onError` of each, or "". `failures` counts all failures so far, also
    those that were retried; `rollback_after` is 0 for never.
    """
    each = [own_reaction(on_error, on_failure) for on_error in failed]
    if not each:
        return Reaction.CONTINUE
    if rollback_after and failures >= rollback_after:
        return Reaction.ROLLBACK
    return max(each, key=_STRENGTH.index)


def own_reaction(on_error: str, on_failure: str) -> Reaction:
    """Return the reaction to one failed step, apart from how many have failed."""
    return Reaction(on_error or on_failure)


def counts(on_error: str) -> bool:
    """Return True if a failure of a step counts for `rollback_after`.

    A step whose own `onError` is `continue` may fail.
    """
    return on_error != Reaction.CONTINUE


def rollback_after(written: int | None, *, on_failure: str, has_undo: bool) -> int:
    """Return the number of failures after which a run is rolled back; 0 for never.

    `written` is `rollbackAfterFailures` of the plan. By default only a plan that pauses
    on failures, and that has something to undo, is rolled back.
    """
    if written is not None:
        return written
    is_default = on_failure == Reaction.PAUSE and has_undo
    return DEFAULT_ROLLBACK_AFTER if is_default else 0


def sentence(on_failure: str, after: int) -> str:
    """Say what a failed step means for the run, for those who approve its plan."""
    first = {
        Reaction.CONTINUE: "If a step fails, the other steps continue.",
        Reaction.PAUSE: "If a step fails, the run pauses.",
        Reaction.ABORT: "If a step fails, the run ends.",
        Reaction.ROLLBACK: "If a step fails, finished steps are undone in reverse order.",
    }[Reaction(on_failure)]
    if not after or on_failure == Reaction.ROLLBACK:
        return first
    if after == 1:
        return "If a step fails, finished steps are undone in reverse order."
    return (
        f"{first} After {after} failures, finished steps are undone in reverse order."
    )
