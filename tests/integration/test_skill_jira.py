"""The jira-write skill against as much of Jira as it needs, on loopback."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestration.skills import installed
from orchestration.skills.domain.outcome import DryRunResult, Failed, Unknown
from orchestration.skills.execution import Runner
from orchestration.skills.execution.calls import CallKind, WireCall
from tests.jira import Jira
from tests.skill_calls import Bench, http_server


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "calls", {"allow_private": True})


@pytest.fixture
def jira(bench: Bench) -> Iterator[Jira]:
    made = Jira()
    with http_server(made.answer) as base:
        bench.config = {"base_url": base, "user": "bot@example.com", "token": "t0ken"}
        yield made


SEED = {"issue": "PROJ-123", "status": "In Progress"}


def test_the_transition_of_the_example_moves_the_issue_and_its_undo_moves_it_back(
    bench, jira
):
    made = bench.good("jira-write.transition", SEED)

    assert jira.status == "In Progress"
    assert made.output["previous_status"] == "To Do"
    bench.good("jira-write.transition", {"issue": "PROJ-123", "status": "To Do"})
    assert jira.status == "To Do"


def test_a_try_whose_answer_was_lost_is_found_again_and_not_repeated(bench, jira):
    jira.broken = 1

    lost = bench.run("jira-write.transition", SEED, key="a")
    again = bench.good("jira-write.transition", SEED, key="a")

    assert isinstance(lost, Unknown)
    assert again.output["previous_status"] == "To Do"
    assert jira.posts == 1


@pytest.mark.parametrize("left", ["To Do", "Done"])
def test_a_transition_that_jira_accepts_and_does_not_make_is_a_failure(
    bench, jira, left
):
    jira.left = left

    outcome = bench.run("jira-write.transition", SEED)

    assert isinstance(outcome, Failed)
    assert (outcome.code, outcome.before_effect) == ("jira.effect_differs", False)
    assert left in outcome.message


def test_an_issue_that_is_there_already_is_not_moved(bench, jira):
    jira.status = "In Progress"

    outcome = bench.good("jira-write.transition", SEED)

    assert outcome.output["changed"] is False
    assert jira.posts == 0


@pytest.mark.parametrize(
    ("params", "config", "code"),
    [
        ({"issue": "PROJ-999", "status": "Done"}, {}, "jira.no_issue"),
        ({"issue": "PROJ-123", "status": "Shipped"}, {}, "jira.no_transition"),
        (SEED, {"token": "wrong"}, "jira.denied"),
        (SEED, {"base_url": ""}, "jira.not_configured"),
        (SEED, {"base_url": "http://127.0.0.1:1"}, "jira.unreachable"),
    ],
)
def test_jira_says_no(bench, jira, params, config, code):
    bench.config |= config

    assert bench.code("jira-write.transition", params) == code
    assert jira.posts == 0


def test_the_dry_run_asks_jira_under_the_guard_and_moves_nothing(bench, jira, tmp_path):
    handler = "jira-write.transition@1"
    runner = Runner(home=tmp_path / "home")
    call = WireCall(
        handler=handler, params=SEED, config=bench.config, workdir=tmp_path / "w",
        idempotency_key="k", deadline_s=10, kind=CallKind.DRY_RUN, allow=installed.allowance(handler),
    )  # fmt: skip

    preview = runner.complete(call)
    runner.kill()

    assert isinstance(preview, DryRunResult)
    assert preview.changes == ("PROJ-123: To Do -> In Progress",)
    assert jira.posts == 0
    assert bench.check("jira-write.transition", {"issue": "PROJ-9", "status": "x"}) == [
        "jira.no_issue"
    ]
