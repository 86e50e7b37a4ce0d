"""What the answer of a probe means for its step."""

from dataclasses import replace

import pytest

from orchestration.runs.domain.outcome import MAX_LOSSES
from orchestration.runs.domain.probes import WORKER_LOST, ProbeAnswer, Probed, of_probe
from orchestration.runs.domain.states import FINAL_RUN, STEP_RUN, RunState, StepState
from orchestration.skills.domain.contract import EffectClass
from orchestration.skills.errors import ContractInvalid
from orchestration.skills.services import versions
from tests.handlers import SKILL, _action

YES, NO, WHO_KNOWS = ProbeAnswer
LOST, SILENT = WORKER_LOST, "step.timed_out"


def after(answer, *, run=RunState.PAUSED, error=LOST, tries=1, attempts=1, losses=1):
    probed = Probed(answer, "It says so.")
    return of_probe(
        probed, run=run, error=error, tries=tries, max_attempts=attempts, losses=losses
    )


@pytest.mark.parametrize(
    ("given", "event", "counts"),
    [
        ({}, "did_not_happen", False),
        ({"losses": MAX_LOSSES - 1}, "did_not_happen", False),
        ({"losses": MAX_LOSSES}, "failed", True),
        ({"losses": MAX_LOSSES, "attempts": 2}, "did_not_happen", True),
        ({"error": SILENT}, "failed", True),
        ({"error": SILENT, "attempts": 2}, "did_not_happen", True),
        ({"error": SILENT, "tries": 2, "attempts": 2}, "failed", True),
        ({"run": RunState.CANCELLED}, "cancelled", True),
        ({"run": RunState.ROLLBACK_FAILED}, "cancelled", True),
        ({"run": RunState.ABORTING}, "did_not_happen", False),
    ],
)
def test_what_follows_if_it_did_not_happen(given, event, counts):
    found = after(NO, **given)

    assert (found.event, found.counts) == (event, counts)
    if event == "failed":
        assert (found.error.ran, found.error.code) == (False, "step.did_not_happen")
        assert found.error.message.endswith("It says so.")


@pytest.mark.parametrize("run", RunState)
def test_what_happened_is_recorded_in_any_run_and_no_answer_moves_nothing(run):
    assert after(YES, run=run).event == "resolved"
    assert after(WHO_KNOWS, run=run) is None
    ends = after(NO, run=run).event
    assert STEP_RUN.allows(StepState.INDETERMINATE, ends)
    assert (ends == "cancelled") is (run in FINAL_RUN)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"probe_param": "x"}, "unknown param 'x'"),
        ({"probe_param": "x", "probe": "lab.witness-probe@1"}, "unknown param 'x'"),
        ({"effect_class": EffectClass.PROBEABLE}, "needs a probe"),
    ],
)
def test_a_contract_that_promises_a_probe_must_have_it(fields, problem):
    broken = replace(SKILL, actions=(_action("echo", **fields),))

    with pytest.raises(ContractInvalid, match=problem):
        versions.check(broken)
    versions.check(SKILL)
