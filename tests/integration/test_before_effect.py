"""Whether a failure came before any effect: from the handler to the page."""

from datetime import timedelta

import pytest

from execfabric.lib import clock
from orchestration.runs.keeper import sweep
from orchestration.runs.pages import step_page
from orchestration.skills.domain.outcome import Failed, Retry, Unknown
from orchestration.skills.execution import wire
from tests.builders import approved, decided, driven, open_gate, plan, step

BEFORE = "Nothing was changed: the step failed before it took effect."
MAY_BE = "The step started, so some changes may have been made."
NOT_KNOWN = "The step started. It may or may not have taken effect."

MAIL = {"to": ["ops@example.com"], "subject": "Sales", "text": "See the report."}


@pytest.fixture
def jira_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXECFABRIC_SECRET_JIRA_TOKEN", "t0ken")


@pytest.mark.parametrize(
    "outcome",
    [
        Failed("a.b", "m"),
        Failed("a.b", "m", before_effect=True),
        Retry("a.b", "m"),
        Unknown("a.b", "m"),
    ],
)
def test_an_outcome_keeps_its_meaning_on_the_wire(outcome):
    assert wire.outcome_from_wire(wire.outcome_to_wire(outcome)) == outcome


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("fail", ("failed", True, MAY_BE)),
        ("early", ("failed", False, BEFORE)),
        ("busy", ("failed", False, BEFORE)),
        ("unknown", ("indeterminate", None, NOT_KNOWN)),
        ("raise", ("indeterminate", None, NOT_KNOWN)),
    ],
)
def test_a_page_says_whether_parts_of_an_effect_may_be_there(
    how, expected, proposer, operator, worker
):
    text = plan(step("once", "once", params={"how": how}))
    run = driven(approved(text, proposer, operator), worker)

    once = run.steps.get()

    view = step_page.step_view(operator.actor(), run.id, "once")
    assert (once.state, once.error["ran"], view.happened) == expected


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("registry")
@pytest.mark.usefixtures("jira_token")
@pytest.mark.parametrize(
    ("name", "params", "code"),
    [
        ("http.request", {"url": "http://nosuch.invalid/"}, "http.unreachable"),
        ("http.request", {"url": "http://169.254.169.254/"}, "outbound.denied"),
        ("notify.email", MAIL, "notify.not_configured"),
        ("git-operations.create-branch", {"name": "x"}, "git.no_repository"),
        ("jira-write.transition", {"issue": "A-1", "status": "x"}, "jira.not_configured"),
        ("data.unload", {"table": "t", "load_id": "0" * 32}, "data.unknown_load"),
        ("files.unpublish", {"path": "x"}, "files.no_root"),
    ],
)  # fmt: skip
def test_what_is_missing_is_found_before_any_effect(
    name, params, code, proposer, operator, worker
):
    skill, _, action = name.partition(".")
    act = {"id": "act", "skill": skill, "action": action, "params": params}
    run = driven(approved(plan(act), proposer, operator), worker)
    if run.steps.get().state == "gated":
        decided(open_gate(run, "act"), operator)
        run = driven(run, worker)

    act = run.steps.get()

    assert act.error["code"] == code
    assert act.error["ran"] is False
    assert "Errno" not in act.error["message"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("registry")
def test_a_secret_that_is_not_set_is_named_in_the_log_of_the_worker_only(
    proposer, operator, worker, caplog, monkeypatch
):
    monkeypatch.delenv("EXECFABRIC_SECRET_LAB_TOKEN")
    run = driven(approved(plan(step("a", "secret")), proposer, operator), worker)

    error = run.steps.get().error

    assert (error["code"], error["ran"]) == ("skill.secret_missing", False)
    assert "lab-token" not in error["message"]
    assert "lab-token" in caplog.text


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("registry")
@pytest.mark.parametrize(
    ("action", "how", "tries"),
    [
        pytest.param("once", "busy", 2, id="nothing happened, so it may run again"),
        pytest.param("once", "unknown", 1, id="a second run may be a second effect"),
        pytest.param("misbehave-again", "unknown", 2, id="a second run is harmless"),
        pytest.param("once", "early", 1, id="another try would not help"),
    ],
)
def test_only_what_is_harmless_is_tried_again(
    action, how, tries, proposer, operator, worker
):
    retry = {"attempts": 2, "initial": "10ms"}
    text = plan(step("act", action, params={"how": how}, retry=retry))
    run = driven(approved(text, proposer, operator), worker)
    sweep.sweep(at=clock.now() + timedelta(seconds=30))
    run = driven(run, worker)

    assert run.steps.get().attempts.count() == tries
