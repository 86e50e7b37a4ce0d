"""What a dry run reports of each step, within its bounds and without secrets."""

import subprocess
from dataclasses import replace

import pytest

from execfabric.lib import clock
from orchestration.plans.domain import dryrun
from orchestration.plans.services.preview import Previewer
from orchestration.runs.control import dry_runs
from orchestration.runs.models import DryRun
from orchestration.runs.worker import dry_run_work
from orchestration.skills.domain.states import SkillEvent
from orchestration.skills.execution import Answer, Runner, WireCall
from orchestration.skills.services import registry
from tests.builders import (
    chain,
    dry_runner,
    plan,
    step,
)
from tests.integration.dry_run_builders import ended, queued

pytestmark = pytest.mark.usefixtures("registry")


def previewer(row: DryRun, tmp_path, **fields) -> Previewer:
    runner = dry_runner()
    content = dry_runs.content_of(row)
    return Previewer(content, runner, tmp_path / "work", **fields)


class Patient:
    """Gives a runner that a busy host starts late more time, except to hang."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def complete(self, call: WireCall, **options) -> Answer:
        patience = 0 if call.params["how"] == "hang" else 60
        call = replace(call, deadline_s=call.deadline_s + patience)
        return self._runner.complete(call, **options)


def test_a_plan_with_a_thousand_steps_starts_two_processes_and_ends_in_its_bounds(
    proposer, monkeypatch
) -> None:
    row = queued(proposer, chain(1000))
    started = []
    popen = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda *a, **k: started.append(a) or popen(*a, **k)
    )

    assert dry_run_work.work(dry_run_id=row.id, worker="one")
    row.refresh_from_db()

    verdicts = [one["verdict"] for one in row.report["steps"]]
    assert (row.state, row.report["limits"]) == ("incomplete", ["steps"])
    assert row.reason == "A dry run covers at most 200 steps."
    assert verdicts == ["covered"] * 200 + ["not_dry_run"] * 800
    assert row.report["coverage"] == 20
    # The runner and its guardian, which it forks.
    assert len(started) == 1


def test_a_dry_run_ends_when_its_seconds_are_used_up(proposer, tmp_path) -> None:
    seconds = iter(range(1000))
    row = queued(proposer, chain(50))

    report = previewer(
        row, tmp_path, total_s=10, monotonic=lambda: next(seconds)
    ).report()

    assert report.limits == (dryrun.DryRunLimit.SECONDS,)
    assert 0 < report.coverage < 100
    assert report.steps[-1].verdict == "not_dry_run"
    assert "60 seconds" in report.steps[-1].summary


def test_a_step_that_is_slow_or_kills_the_runner_is_not_dry_run(
    proposer, tmp_path
) -> None:
    text = plan(
        *(
            step(key, "look", params={"how": how})
            for key, how in {"a": "die", "b": "hang", "c": "ok", "d": "die"}.items()
        ),
        step("e"),
    )
    preview = previewer(queued(proposer, text), tmp_path, step_s=5)
    preview.runner = Patient(preview.runner)

    report = preview.report()

    found = {one.step: (str(one.verdict), one.summary) for one in report.steps}
    assert [found[key][0] for key in "abcd"] == [
        "not_dry_run",
        "not_dry_run",
        "covered",
        "not_dry_run",
    ]
    assert "did not finish in 5 s" in found["b"][1]
    assert found["e"] == ("not_dry_run", "The steps crashed the runner 3 times.")


@pytest.mark.parametrize(
    ("how", "says"),
    [
        pytest.param("raise", "RuntimeError: it broke", id="error in the handler"),
        pytest.param(
            "would fail", "The target is not there.", id="said by the handler"
        ),
        pytest.param("touch", "tried to change something", id="touched something"),
    ],
)
def test_a_failure_that_is_found_is_would_fail_and_never_covered(
    how, says, proposer, tmp_path
) -> None:
    params = {"how": how, "path": str(tmp_path / "touched")}
    row = ended(queued(proposer, plan(step("a", "look", params=params), step("b"))))

    (failing,) = row.report["would_fail"]
    assert failing["step"] == "a"
    assert says in failing["message"]
    assert row.state == "finished"
    assert row.report["coverage"] == 50
    assert not (tmp_path / "touched").exists()


def test_params_that_break_the_input_schema_would_fail_and_call_no_handler(
    proposer,
) -> None:
    text = plan(
        step("a", params={"value": 7}),
        step("b", "strict", after="a", params={"url": "$a.output.value"}),
    )
    row = ended(queued(proposer, text))

    (failing,) = row.report["would_fail"]
    assert failing["step"] == "b"
    assert "url must be text, not an integer." in failing["message"]


def test_an_optional_output_that_is_not_known_is_not_taken_as_null(proposer) -> None:
    text = plan(
        step("a", "write", params={"text": "x"}),
        step("b", after="a", params={"bytes": "$a.output.bytes?"}),
    )
    row = ended(queued(proposer, text))

    verdicts = [one["verdict"] for one in row.report["steps"]]
    assert verdicts == ["not_dry_run", "not_dry_run"]


def test_a_dry_run_gets_no_secret_that_is_not_declared_for_it(proposer) -> None:
    text = plan(step("a", "look", params={"how": "secret"}))
    row = ended(queued(proposer, text))

    (shown,) = row.report["steps"]
    assert shown["verdict"] == "not_dry_run"
    assert shown["summary"] == (
        "It needs a secret that dry runs do not get."
        " The dry run reads the secret 'token' of the configuration. It is only available in the run."
    )
    assert "lab-token" not in str(row.report)
    assert "laboratory-secret" not in str(row.report)


def test_a_declared_secret_is_given_and_masked(proposer) -> None:
    text = plan(step("a", "look-with-secret", params={"how": "secret"}))
    row = ended(queued(proposer, text))

    (shown,) = row.report["steps"]
    assert (shown["verdict"], shown["summary"]) == ("covered", "The token is [masked].")


def test_what_a_handler_says_is_cut_to_what_can_be_stored_and_shown(proposer) -> None:
    row = ended(queued(proposer, plan(step("a", "look", params={"how": "long"}))))

    (shown,) = row.report["steps"]
    assert len(shown["summary"]) == dryrun.MAX_LINE
    assert len(shown["changes"]) == dryrun.MAX_LINES + 1
    assert shown["changes"][-1] == "and 980 more"
    assert "\0" not in shown["summary"]
    assert shown["output_known"] is False


def test_a_skill_that_was_withdrawn_meanwhile_is_not_called(proposer, admin) -> None:
    row = queued(proposer)
    registry.set_state(
        slug="lab",
        event=SkillEvent.QUARANTINED,
        reason="Test.",
        by=admin.actor(),
        at=clock.now(),
    )

    row = ended(row)

    assert row.report["steps"][0]["summary"] == "Its skill is no longer active."
