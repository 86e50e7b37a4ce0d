"""What a run really does, in words: a table."""

from datetime import UTC, datetime, timedelta

import pytest

from orchestration.runs.domain.run_status import (
    RunFacts,
    StepCounts,
    WaitingFor,
    WaitKind,
    shown_state,
    status_of,
)
from orchestration.runs.domain.states import FINAL_RUN, RunState, StepState

NOON = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
AGO = NOON - timedelta(minutes=3, seconds=5)


def facts(state=RunState.RUNNING, *waits, running=(), worked_s=1.1, **counts):
    return RunFacts(
        state=state,
        proposed_at=NOON - timedelta(minutes=10),
        finished_at=NOON if state in FINAL_RUN else None,
        counts=StepCounts(counts or {"succeeded": 3, "gated": 1}),
        waits=waits,
        running=running,
        running_count=len(running),
        worked_s=worked_s,
    )


def wait(kind: WaitKind, **fields) -> WaitingFor:
    return WaitingFor(kind=kind, **({"since": AGO} | fields))


APPROVAL = wait(WaitKind.APPROVAL, groups=(("operator", 1),), step="publish")


@pytest.mark.parametrize(
    ("stored", "sentence"),
    [
        pytest.param(
            facts(RunState.RUNNING, APPROVAL),
            "Waiting for an operator for 3 min 05 s, 3 of 4 done, 1.1 s of work.",
            id="one approval",
        ),
        pytest.param(
            facts(
                RunState.AWAITING_APPROVAL,
                wait(WaitKind.APPROVAL, groups=(("security", 1), ("admin", 2))),
                worked_s=0,
                pending=4,
            ),
            "Waiting for a security and 2 of group admin for 3 min 05 s, 0 of 4 done.",
            id="two groups, no work yet",
        ),
        pytest.param(
            facts(RunState.RUNNING, running=[("collect", AGO)]),
            "Running step “collect” for 3 min 05 s, 3 of 4 done, 1.1 s of work.",
            id="a step works",
        ),
        pytest.param(
            facts(RunState.RUNNING, APPROVAL, running=[("a", AGO), ("b", AGO)]),
            "Running 2 steps, waiting for an operator, 3 of 4 done, 1.1 s of work.",
            id="steps work while an approval is open",
        ),
        pytest.param(
            facts(
                RunState.RUNNING, wait(WaitKind.TIME, until=NOON), running=[("a", AGO)]
            ),
            "Running step “a” for 3 min 05 s, 3 of 4 done, 1.1 s of work.",
            id="a step works while another waits for a time",
        ),
        pytest.param(
            facts(RunState.RUNNING, wait(WaitKind.TIME, until=NOON)),
            "Waiting until 2026-06-01 12:00:00 UTC, 3 of 4 done, 1.1 s of work.",
            id="a time",
        ),
        pytest.param(
            facts(RunState.RUNNING, wait(WaitKind.EVENT, name="event paid with key 7")),
            "Waiting for event paid with key 7 for 3 min 05 s, 3 of 4 done,"
            " 1.1 s of work.",
            id="an event",
        ),
        pytest.param(
            facts(RunState.QUEUED, wait(WaitKind.PLACE, name="prod", run="r-1")),
            "Waiting for run r-1 to release the key “prod” for 3 min 05 s,"
            " 3 of 4 done, 1.1 s of work.",
            id="a place, and who holds it",
        ),
        pytest.param(
            facts(RunState.RUNNING, wait(WaitKind.WORKER, step="send")),
            "Waiting for a worker to start step “send” for 3 min 05 s, 3 of 4 done,"
            " 1.1 s of work.",
            id="a worker",
        ),
        pytest.param(
            facts(
                RunState.RUNNING, wait(WaitKind.RETRY, step="s", until=NOON, since=None)
            ),
            "Waiting to retry step “s” at 2026-06-01 12:00:00 UTC, 3 of 4 done,"
            " 1.1 s of work.",
            id="a retry",
        ),
        pytest.param(
            facts(RunState.RUNNING, wait(WaitKind.ANSWER, step="ask")),
            "Waiting for an answer in step “ask” for 3 min 05 s, 3 of 4 done,"
            " 1.1 s of work.",
            id="an answer",
        ),
        pytest.param(
            facts(
                RunState.PAUSED,
                wait(WaitKind.FAILURE, step="send"),
                succeeded=2,
                failed=1,
                skipped=1,
            ),
            "Waiting for a user to act on the failed step “send” for 3 min 05 s,"
            " 2 of 4 done, 1 failed, 1 skipped, 1.1 s of work.",
            id="a failure, with failed and skipped apart",
        ),
        pytest.param(
            facts(
                RunState.PAUSED,
                APPROVAL,
                wait(WaitKind.FAILURE, step="b"),
                wait(WaitKind.OUTCOME, step="a"),
            ),
            "Waiting for a user to resolve the outcome of step “a” and 2 more"
            " for 3 min 05 s, 3 of 4 done, 1.1 s of work.",
            id="the most important of several waits",
        ),
        pytest.param(
            facts(RunState.PAUSED, wait(WaitKind.RESUME)),
            "Waiting for a user to resume it for 3 min 05 s, 3 of 4 done, 1.1 s of work.",
            id="a pause",
        ),
        pytest.param(
            facts(RunState.PAUSING, running=[("a", None)]),
            "Pausing: step “a” finishes first, 3 of 4 done, 1.1 s of work.",
            id="a pause that is requested",
        ),
        pytest.param(
            facts(RunState.CANCELLING, running=[("a", None), ("b", None)]),
            "Cancelling: 2 steps finish first, 3 of 4 done, 1.1 s of work.",
            id="a cancellation",
        ),
        pytest.param(
            facts(RunState.PARTIALLY_SUCCEEDED, APPROVAL),
            "Partially succeeded, 3 of 4 done, 1.1 s of work.",
            id="a finished run waits for nothing",
        ),
        pytest.param(
            facts(RunState.RUNNING),
            "Running, 3 of 4 done, 1.1 s of work.",
            id="between two steps",
        ),
    ],
)
def test_the_status_says_what_the_run_really_does(stored, sentence) -> None:
    assert status_of(stored, at=NOON).sentence == sentence


def test_waiting_and_working_time_are_apart() -> None:
    status = status_of(facts(RunState.SUCCEEDED, worked_s=61.0), at=NOON)

    assert (status.worked, status.waited) == ("1 min 01 s", "8 min 59 s")


def test_a_finished_run_waits_for_nothing() -> None:
    assert status_of(facts(RunState.FAILED, APPROVAL), at=NOON).waiting_for == ()


def test_every_kind_of_wait_has_a_sentence() -> None:
    texts = [wait(kind, step="s", name="n", until=NOON).text for kind in WaitKind]

    assert len(set(texts)) == len(WaitKind)


@pytest.mark.parametrize(
    ("run", "steps", "state"),
    [
        (RunState.RUNNING, {StepState.GATED}, "gated"),
        (RunState.RUNNING, {StepState.GATED, StepState.RUNNING}, "running"),
        (RunState.RUNNING, {StepState.GATED, StepState.WAITING}, "gated"),
        (RunState.RUNNING, {StepState.WAITING, StepState.PENDING}, "waiting"),
        (RunState.RUNNING, {StepState.BACKOFF}, "backoff"),
        (RunState.RUNNING, {StepState.QUEUED}, "queued"),
        (RunState.RUNNING, {StepState.WAITING, StepState.READY}, "running"),
        (RunState.RUNNING, {StepState.PENDING}, "running"),
        (RunState.PAUSED, {StepState.GATED}, "paused"),
        (RunState.SUCCEEDED, {StepState.SUCCEEDED}, "succeeded"),
    ],
)
def test_a_run_that_only_waits_is_shown_as_what_it_waits_for(run, steps, state) -> None:
    assert shown_state(run, frozenset(steps)) == state
