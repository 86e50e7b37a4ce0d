"""What a result, a loss, a request or a verdict means: one table each."""

from datetime import UTC, datetime, timedelta
from itertools import product

import pytest

from approvals.domain.states import GateStatus
from orchestration.runs.domain import outcome
from orchestration.runs.domain.decider import (
    Cancel,
    Move,
    Revive,
    TryAgain,
    unknown_reason,
)
from orchestration.runs.domain.outcome import MAX_LOSSES
from orchestration.runs.domain.progress import UPSTREAM_FAILED, Progress, StepStatus
from orchestration.runs.domain.results import ABANDONED, Failure, Finished, Lost
from orchestration.runs.domain.states import (
    ATTEMPT,
    RUN,
    STEP_RUN,
    AttemptEvent,
    Phase,
    RunEvent,
    RunState,
    StepEvent,
    StepState,
)
from orchestration.skills.domain.contract import EffectClass, RetryRule
from orchestration.skills.domain.outcome import Failed, Retry, Unknown

A, E, P, R, S, T = AttemptEvent, RunEvent, Phase, RunState, StepState, StepEvent
NOON = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
RULE = RetryRule(attempts=3, backoff="constant", initial_s=7)
BUSY = Failure("lab.busy", "Later.", again=True)
NO = Failure("lab.refused", "The target said no.")
KILLED = Failure("run.cancelled", "It was stopped.", killed=True)
UNKNOWN = Lost("step.timed_out", "Not known.")
REPEATABLE = (EffectClass.PURE, EffectClass.IDEMPOTENT)
NOT_REPEATABLE = (EffectClass.PROBEABLE, EffectClass.NON_IDEMPOTENT)


@pytest.mark.parametrize(
    ("result", "run", "tries", "event", "attempt"),
    [
        (Finished({}, {}), R.RUNNING, 1, T.SUCCEEDED, A.SUCCEEDED),
        (Finished({}, {}), R.CANCELLING, 1, T.SUCCEEDED, A.SUCCEEDED),
        (Finished({}, {}), R.PAUSING, 3, T.SUCCEEDED, A.SUCCEEDED),
        (UNKNOWN, R.RUNNING, 1, T.OUTCOME_UNKNOWN, A.LOST),
        (UNKNOWN, R.CANCELLING, 1, T.OUTCOME_UNKNOWN, A.LOST),
        (BUSY, R.RUNNING, 1, T.RETRY_LATER, A.FAILED),
        (BUSY, R.RUNNING, 2, T.RETRY_LATER, A.FAILED),
        (BUSY, R.RUNNING, 3, T.FAILED, A.FAILED),
        (BUSY, R.PAUSING, 1, T.RETRY_LATER, A.FAILED),
        (NO, R.RUNNING, 1, T.FAILED, A.FAILED),
        (NO, R.CANCELLING, 1, T.FAILED, A.FAILED),
        (KILLED, R.CANCELLING, 1, T.CANCELLED, A.FAILED),
        (KILLED, R.RUNNING, 1, T.FAILED, A.FAILED),
    ],
)
def test_what_the_result_of_a_worker_means(result, run, tries, event, attempt):
    ended = outcome.of_result(result, run=run, tries=tries, max_attempts=3, rule=RULE)

    assert (ended.event, ended.attempt) == (event, attempt)
    assert ended.error == (None if isinstance(result, Finished) else result)
    wait = timedelta(seconds=7) if event is T.RETRY_LATER else None
    assert (ended.wait, ended.counts) == (wait, True)


@pytest.mark.parametrize(
    ("effect_class", "ran", "run", "has_fallback", "event"),
    [
        (EffectClass.IDEMPOTENT, None, R.RUNNING, True, T.OUTCOME_UNKNOWN),
        (EffectClass.IDEMPOTENT, None, R.PAUSING, True, T.OUTCOME_UNKNOWN),
        (EffectClass.IDEMPOTENT, None, R.RUNNING, False, T.FAILED),
        (EffectClass.IDEMPOTENT, None, R.CANCELLING, True, T.FAILED),
        (EffectClass.IDEMPOTENT, None, R.ABORTING, True, T.FAILED),
        (EffectClass.IDEMPOTENT, True, R.RUNNING, True, T.FAILED),
        (EffectClass.IDEMPOTENT, False, R.RUNNING, True, T.FAILED),
        (EffectClass.PURE, None, R.RUNNING, True, T.FAILED),
    ],
)
def test_no_fallback_follows_an_effect_that_may_still_happen(
    effect_class, ran, run, has_fallback, event
):
    failure = Failure("c", "m.", again=True, ran=ran)
    ended = outcome.of_result(failure, run=run, tries=3, max_attempts=3, rule=RULE)
    if outcome.must_be_known(effect_class, has_fallback=has_fallback, run=run):
        ended = outcome.if_known(ended, earlier_unknown=False)

    assert ended.event is event
    assert isinstance(ended.error, Lost) is (event is T.OUTCOME_UNKNOWN)


@pytest.mark.parametrize("has_fallback", [True, False])
def test_a_step_that_keeps_losing_workers_may_have_had_its_effect(has_fallback):
    ended = outcome.of_lost_lease(
        P.INTENT,
        effect_class=EffectClass.IDEMPOTENT,
        run=R.RUNNING,
        losses=MAX_LOSSES,
        has_fallback=has_fallback,
    )

    assert ended.event is (T.OUTCOME_UNKNOWN if has_fallback else T.FAILED)
    assert ended.attempt is A.LOST


@pytest.mark.parametrize(
    ("phase", "effects", "run", "losses", "event", "code"),
    [
        (P.INTENT, REPEATABLE, R.RUNNING, 1, T.LEASE_LOST, None),
        (P.INTENT, REPEATABLE, R.PAUSING, 1, T.LEASE_LOST, None),
        (P.INTENT, REPEATABLE, R.CANCELLING, 1, T.CANCELLED, None),
        (P.INTENT, REPEATABLE, R.CANCELLING, 9, T.CANCELLED, None),
        (P.INTENT, REPEATABLE, R.RUNNING, MAX_LOSSES - 1, T.LEASE_LOST, None),
        (P.INTENT, REPEATABLE, R.RUNNING, MAX_LOSSES, T.FAILED, "attempts_exhausted"),
        (P.INTENT, NOT_REPEATABLE, R.RUNNING, 1, T.OUTCOME_UNKNOWN, "worker_lost"),
        (P.INTENT, NOT_REPEATABLE, R.CANCELLING, 1, T.OUTCOME_UNKNOWN, "worker_lost"),
        (P.INTENT, NOT_REPEATABLE, R.RUNNING, 9, T.OUTCOME_UNKNOWN, "worker_lost"),
        (P.CLAIMED, NOT_REPEATABLE, R.RUNNING, 1, T.LEASE_LOST, None),
        (P.CLAIMED, NOT_REPEATABLE, R.CANCELLING, 1, T.CANCELLED, None),
        (P.CLAIMED, REPEATABLE, R.RUNNING, MAX_LOSSES, T.FAILED, "attempts_exhausted"),
    ],
)
def test_what_a_lost_lease_means(phase, effects, run, losses, event, code):
    for effect_class in effects:
        ended = outcome.of_lost_lease(
            phase, effect_class=effect_class, run=run, losses=losses
        )

        assert (ended.event, ended.attempt) == (event, A.LOST)
        assert (ended.error and ended.error.code) == (code and f"step.{code}")
        assert ended.counts == (event is not T.LEASE_LOST)


@pytest.mark.parametrize("run", R)
def test_an_attempt_that_never_began_leaves_no_open_step_in_an_ended_run(run):
    event = outcome.of_not_started(run)

    assert event is (T.CANCELLED if run in RUN.final else T.NOT_STARTED)
    assert STEP_RUN.allows(S.INDETERMINATE, event)


def test_every_end_of_an_attempt_is_a_legal_move():
    runs = (R.RUNNING, R.PAUSING, R.CANCELLING)
    ends = [
        outcome.of_result(result, run=run, tries=tries, max_attempts=3, rule=RULE)
        for result in (Finished({}, {}), UNKNOWN, BUSY, NO, KILLED)
        for run, tries in product(runs, (1, 3))
    ]
    ends += [
        outcome.of_lost_lease(phase, effect_class=effect, run=run, losses=losses)
        for phase, effect in product((P.CLAIMED, P.INTENT), EffectClass)
        for run, losses in product(runs, (1, MAX_LOSSES))
    ]

    assert all(STEP_RUN.allows(S.RUNNING, end.event) for end in ends)
    assert all(ATTEMPT.allows(P.INTENT, end.attempt) for end in ends)


@pytest.mark.parametrize("effect_class", REPEATABLE)
def test_a_repeatable_attempt_that_was_cut_off_is_tried_again(effect_class):
    result = outcome.cut_off(effect_class, "step.timed_out", "It took too long.")

    assert result == Failure(
        "step.timed_out", "It took too long.", again=True, ran=None
    )


@pytest.mark.parametrize("effect_class", NOT_REPEATABLE)
def test_any_other_attempt_that_was_cut_off_is_unknown(effect_class):
    result = outcome.cut_off(effect_class, "step.timed_out", "It took too long.")

    assert isinstance(result, Lost)
    assert result.as_fact()["ran"] is None


@pytest.mark.parametrize(
    ("answer", "effects", "result"),
    [
        (Retry("c", "m"), EffectClass, Failure("c", "m", again=True, ran=False)),
        (Failed("c", "m"), EffectClass, Failure("c", "m", ran=True)),
        (
            Failed("c", "m", before_effect=True),
            EffectClass,
            Failure("c", "m", ran=False),
        ),
        (Unknown("c", "m"), REPEATABLE, Failure("c", "m", again=True, ran=None)),
        (
            Unknown("c", "m"),
            NOT_REPEATABLE,
            Lost("c", "m Outcome unknown: the step may have taken effect."),
        ),
    ],
)
def test_what_the_answer_of_a_handler_means(answer, effects, result):
    assert {outcome.of_answer(answer, effect) for effect in effects} == {result}


def test_a_repeatable_attempt_that_used_too_much_is_not_repeated():
    results = {
        effect: outcome.over_limit(effect, "limits.memory", "Too much.")
        for effect in EffectClass
    }

    assert {results[effect] for effect in REPEATABLE} == {
        Failure("limits.memory", "Too much.", ran=None)
    }
    assert all(isinstance(results[effect], Lost) for effect in NOT_REPEATABLE)


def test_a_lost_attempt_may_run_until_its_deadline_and_a_margin():
    end = NOON + timedelta(seconds=60) + outcome.KILL_MARGIN

    assert outcome.killed_by(NOON, timeout_s=60) == end


def run_of(*states: StepState, on_failure: str = "pause") -> Progress:
    errors = {S.SKIPPED: UPSTREAM_FAILED}
    steps = [
        StepStatus(key, key, state, error=errors.get(state, ""))
        for key, state in zip("abcde", states, strict=False)
    ]
    return Progress(steps, parallel_max=0, on_failure=on_failure)


@pytest.mark.parametrize(
    ("on_failure", "states", "expected"),
    [
        ("pause", [S.READY, S.PENDING], []),
        ("pause", [S.FAILED, S.SUCCEEDED, S.PENDING], [TryAgain("a")]),
        ("pause", [S.FAILED, S.FAILED, S.READY], [TryAgain("a"), TryAgain("b")]),
        ("pause", [S.FAILED, S.SKIPPED], [TryAgain("a"), Revive("b")]),
        ("pause", [S.SUCCEEDED, S.SKIPPED, S.PENDING], []),
        ("continue", [S.FAILED, S.SKIPPED, S.READY], []),
        ("abort", [S.FAILED, S.SKIPPED, S.READY], []),
    ],
)
def test_resuming_tries_again_what_paused_the_run(on_failure, states, expected):
    actions = outcome.resume(run_of(*states, on_failure=on_failure))

    assert actions == [Move(E.RESUMED), *expected]


def test_resuming_does_not_repeat_what_was_abandoned():
    progress = run_of(S.FAILED, S.FAILED, S.SKIPPED)
    progress.moved("a", S.FAILED, ABANDONED)

    assert outcome.resume(progress) == [
        Move(E.RESUMED),
        TryAgain("b"),
        Revive("c"),
    ]


@pytest.mark.parametrize("on_failure", ["pause", "continue", "abort"])
def test_trying_a_step_again_revives_what_failures_skipped(on_failure):
    progress = run_of(S.FAILED, S.FAILED, S.SKIPPED, on_failure=on_failure)

    actions = outcome.try_again(progress.steps(S.FAILED)[1:], progress)

    assert actions == [TryAgain("b"), Revive("c")]


@pytest.mark.parametrize(
    ("happened", "event", "code"),
    [
        (True, T.RESOLVED, None),
        (False, T.FAILED, "step.did_not_happen"),
        (None, T.FAILED, "step.outcome_abandoned"),
    ],
)
def test_what_evidence_on_an_unknown_outcome_means(happened, event, code):
    settled = outcome.of_evidence(happened=happened, evidence="Seen.", by="operator")

    assert settled.event is event
    assert (settled.error and settled.error.code) == code
    assert STEP_RUN.allows(S.INDETERMINATE, event)


@pytest.mark.parametrize(
    ("verdict", "is_approval_step", "event", "code"),
    [
        (GateStatus.APPROVED, False, T.GATE_APPROVED, None),
        (GateStatus.APPROVED, True, T.SUCCEEDED, None),
        (GateStatus.REJECTED, False, T.GATE_REJECTED, "gate.rejected"),
        (GateStatus.REJECTED, True, T.GATE_REJECTED, "gate.rejected"),
        (GateStatus.EXPIRED, False, T.GATE_REJECTED, "gate.expired"),
        (GateStatus.EXPIRED, True, T.GATE_REJECTED, "gate.expired"),
    ],
)
def test_what_the_verdict_on_a_step_means(verdict, is_approval_step, event, code):
    settled = outcome.of_step_gate(verdict, is_approval_step=is_approval_step)

    assert settled.event is event
    assert (settled.error and settled.error.code) == code
    assert STEP_RUN.allows(S.GATED, event)


@pytest.mark.parametrize(
    ("verdict", "states", "expected"),
    [
        (GateStatus.APPROVED, [S.PENDING], [Move(E.APPROVED)]),
        (GateStatus.REJECTED, [S.PENDING], [Cancel("a"), Move(E.REJECTED)]),
        (GateStatus.EXPIRED, [S.PENDING], [Cancel("a"), Move(E.EXPIRED)]),
        (
            GateStatus.REJECTED,
            [S.SUCCEEDED, S.GATED, S.READY, S.BACKOFF, S.FAILED],
            [Cancel("b"), Cancel("c"), Cancel("d"), Move(E.REJECTED)],
        ),
        (GateStatus.REJECTED, [S.RUNNING, S.GATED], [Move(E.CANCEL_REQUESTED)]),
        (GateStatus.EXPIRED, [S.RUNNING, S.GATED], [Move(E.CANCEL_REQUESTED)]),
    ],
)
def test_what_the_verdict_on_a_plan_means(verdict, states, expected):
    actions = outcome.of_plan_gate(verdict, run_of(*states))

    plain = [Move(a.event) if isinstance(a, Move) else a for a in actions]
    assert plain == expected


@pytest.mark.parametrize(
    ("run", "reason", "expected"),
    [
        (R.PAUSED, unknown_reason("a"), True),
        (R.PAUSING, unknown_reason("a"), True),
        (R.PAUSED, unknown_reason("b"), False),
        (R.PAUSED, "Paused by operator.", False),
        (R.RUNNING, unknown_reason("a"), False),
        (R.CANCELLED, unknown_reason("a"), False),
    ],
)
def test_only_a_run_that_is_paused_for_an_unknown_outcome_goes_on(
    run, reason, expected
):
    assert outcome.was_paused_for("a", run, reason) is expected
