"""The short chaos test: thirty runs while everything goes wrong.

It runs as a program with servers of its own, so that emptying the broker and cutting
connections hits no other test. Its report says what does not hold.
"""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from execfabric.local.layout import PROJECT
from tests.session import NESTED

RUNS = 30
DID = ("succeeded", "compensated", "compensation_failed")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Summarize what happened to the runs."""
    path = tmp_path_factory.mktemp("chaos") / "report.json"
    command = [sys.executable, "-m", "tests.chaos", "--runs", str(RUNS)]
    command += ["--seeds", "20", "--faults", "50", "--json", str(path)]
    command += ["--keepers", "1", "--no-web", "--trials", "1"]
    env = {name: value for name, value in os.environ.items() if name != NESTED}
    done = subprocess.run(
        command, cwd=PROJECT, env=env, capture_output=True, text=True, check=False
    )
    if not path.exists():
        pytest.fail(f"the chaos test did not end by itself:\n{done.stderr[-4000:]}")
    (found,) = json.loads(path.read_text())
    return dict(found)


def test_a_fault_alone_is_measured(report):
    for measured in report["alone"].values():
        assert measured["steps"] > 0


def test_enough_went_wrong_for_the_rest_to_mean_something(report):
    struck = report["faults"]

    assert struck["kill"] >= 5
    assert struck["flush"] >= 2
    assert struck["child"] + struck["runner"] + struck["freeze"] >= 5
    assert struck["request"] + struck["answer"] >= 5
    assert report["hints"] >= 10 * RUNS
    assert report["forged_hints"] > RUNS
    assert report["gated_runs"] > 5
    assert report["effects"] > RUNS
    assert report["rollbacks"] > 2


@pytest.mark.promise("S3.41")
def test_every_run_ends_or_waits_for_word_on_an_unknown_outcome(report):
    assert report["violations"]["every_run_is_final_or_waits_for_people"] == []
    assert sum(report["at_the_end"]["runs"].values()) == RUNS


def test_no_step_is_lost_and_none_succeeds_without_its_effect(report):
    assert report["violations"]["no_step_is_lost"] == []
    assert report["violations"]["no_success_without_effect"] == []


@pytest.mark.promise("S3.28")
def test_no_effect_that_may_happen_once_happens_twice(report):
    assert report["violations"]["no_effect_happens_twice"] == []


def test_undos_run_in_reverse_order_of_what_has_completed(report):
    assert report["violations"]["undos_run_in_reverse_order"] == []


def test_no_effect_happens_without_approval_and_intent(report):
    assert report["violations"]["no_effect_without_intent_and_approval"] == []


def test_no_effect_that_happened_is_recorded_as_nothing_ran(report):
    assert report["violations"]["no_effect_is_recorded_as_nothing_ran"] == []


def test_a_handler_that_ends_well_succeeds_unless_its_process_was_killed(report):
    assert report["violations"]["no_known_result_is_lost"] == []


def test_a_handler_that_ends_badly_does_not_succeed(report):
    assert report["violations"]["a_bad_end_is_no_success"] == []


def test_an_outcome_is_unknown_only_where_an_intent_was_committed(report):
    assert report["violations"]["only_an_intent_leaves_an_unknown_outcome"] == []


def test_every_stream_verifies_without_gaps(report):
    assert report["violations"]["every_stream_verifies"] == []


def test_replaying_the_events_leads_to_the_states_in_the_tables(report):
    assert report["violations"]["every_transition_has_one_event"] == []


def test_forged_late_and_tenfold_hints_lead_to_one_claim_per_attempt(report):
    assert report["violations"]["every_claim_is_one_attempt_with_one_end"] == []


def test_a_step_that_lost_no_worker_was_tried_once(report):
    """However often it was hinted: every attempt has an end of its own."""
    end = report["at_the_end"]
    succeeded = sum(end["steps"].get(state, 0) for state in DID)
    succeeded -= report["resolved_as_happened"]

    assert end["attempts"]["done"] == succeeded
    assert set(end["attempts"]) <= {"done", "lost", "failed", "fenced"}
