"""No act of a user runs a step again whose lost process may still live: many races of it.

`EXECFABRIC_TRIALS` is the number of races.
"""

import os
import random
import time
from collections.abc import Callable, Mapping
from functools import partial
from threading import Event

import pytest

from execfabric.identity.models import User
from execfabric.lib import clock
from execfabric.lib.refusal import Refusal
from orchestration.runs.control import control, proposals, recovery, step_actions
from orchestration.runs.control.step_actions import Request
from orchestration.runs.domain.states import StepState
from orchestration.runs.engine.attempts import Lease
from orchestration.runs.keeper import sweep
from orchestration.runs.models import Attempt, StepRun
from tests.builders import approved, claimed, completed, plan
from tests.database import at_once
from tests.integration.fallback_builders import with_fallback
from tests.integration.test_failures import lapse
from tests.record import is_whole

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]
TRIALS = int(os.environ.get("EXECFABRIC_TRIALS", "40"))
ONCE = with_fallback("once", "witness", params={"mark": "once"}, timeout="1h")
"""The old process is before its deadline in every trial, also on a slow machine."""
Act = Callable[[StepRun, User], object]


def resolving(*, happened: bool | None) -> Act:
    return lambda step, by: recovery.resolve(
        step_run_id=step.pk,
        happened=happened,
        evidence="Looked at the target.",
        by=by.actor(),
        at=clock.now(),
    )


def acting(act: Callable[[Request], object]) -> Act:
    return lambda step, by: act(Request(step.pk, "A trial.", by.actor(), clock.now()))


def controlling(act: Callable[..., object]) -> Act:
    return lambda step, by: act(run_id=step.run_id, by=by.actor(), at=clock.now())


RESUME = controlling(control.resume)
ACTS: Mapping[str, tuple[Act, set[str]]] = {
    "retry": (acting(step_actions.retry), {"step.act_refused"}),
    "fallback": (acting(step_actions.fall_back), {"step.act_refused"}),
    "did not happen": (resolving(happened=False), {"step.old_attempt_may_live"}),
    "run again": (
        controlling(proposals.rerun),
        {"run.not_ended", "rerun.step_unresolved"},
    ),
    # Legal, but it leaves a step with an unknown outcome as it is.
    "resume": (RESUME, {"state.illegal_transition", ""}),
}
"""What could run the step again, with the codes of the answers that are right."""


def lost_step(proposer: User, operator: User) -> tuple[StepRun, Lease]:
    """Lose the worker of a step after its intent; return the step and its lease."""
    run = approved(plan(ONCE), proposer, operator)
    lease = claimed(run, "once")
    step = run.steps.get(key="once")
    assert lease
    lapse(step)
    sweep.sweep(at=clock.now())
    step.refresh_from_db()
    assert step.state == StepState.INDETERMINATE
    return step, lease


def live_on(lease: Lease, effects: list[int], has_ended: Event) -> None:
    """Have the effect and report it, as a process whose worker was given up."""
    time.sleep(random.random() * 0.05)
    effects.append(lease.fence)
    completed(lease)
    has_ended.set()


def work(step: StepRun, effects: list[int], has_ended: Event) -> None:
    """Claim what is ready of the run, until the old process has ended and once more."""
    is_last = False
    while not is_last:
        is_last = has_ended.is_set()
        for ready in step.run.steps.filter(state=StepState.READY):
            lease = claimed(step.run, ready.key)
            if lease:
                effects.append(lease.fence)
                completed(lease)
        time.sleep(0.002)


def try_all(step: StepRun, by: User, acts: Mapping[str, Act]) -> dict[str, str]:
    """Try acts in a random order; return the code of each refusal, or ""."""
    return {
        name: code_of(partial(acts[name], step, by))
        for name in random.sample([*acts], len(acts))
    }


def code_of(act: Callable[[], object]) -> str:
    try:
        act()
    except Refusal as refusal:
        return refusal.code
    return ""


def test_nothing_runs_again_while_the_old_process_lives(
    proposer, operator, second_operator
):
    acts = {name: act for name, (act, _) in ACTS.items()}
    for trial in range(TRIALS):
        step, lease = lost_step(proposer, operator)
        if trial % 2:
            controlling(control.cancel)(step, operator)
        effects: list[int] = []
        has_ended = Event()

        _, _, *answers = at_once(
            partial(live_on, lease, effects, has_ended),
            partial(work, step, effects, has_ended),
            partial(try_all, step, operator, acts),
            partial(try_all, step, second_operator, acts),
        )

        for name, code in [pair for answer in answers for pair in answer.items()]:
            assert code in ACTS[name][1], name
        # Nor afterwards, if no one can find out.
        resolving(happened=None)(step, operator)
        assert try_all(step, operator, acts)["retry"] == "step.act_refused"
        work(step, effects, has_ended)
        assert effects == [lease.fence]
        assert Attempt.objects.filter(step_run__run=step.run_id).count() == 1
        assert is_whole(step.run)
