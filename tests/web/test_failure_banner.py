"""A failed step at the top of the page of its run, and the result of a finished one."""

import pytest

from audit import selectors as audit
from execfabric.lib import clock
from execfabric.lib.rights import Role
from orchestration.plans.services import saving
from orchestration.runs.domain.results import Failure
from orchestration.runs.models import LogChunk
from tests.api_builders import person
from tests.builders import approved, claimed, completed, driven, plan, step
from tests.console_builders import rows, signed_in, words
from tests.web.run_builders import FAILING, TWO_STEPS, element, page_of

pytestmark = pytest.mark.usefixtures("registry")


def banner(run, client) -> str:
    text = page_of(run, client).content.decode()
    return text[text.index('data-testid="run-failure"') :].partition("</section>")[0]


def log_line(run, key: str, text: str = "") -> None:
    """Store the log of a step, as its worker does."""
    row = run.steps.get(key=key)
    LogChunk.objects.create(
        step_run=row,
        fence=1,
        offset=0,
        line=0,
        text=text or f"{key} at work",
        at=clock.now(),
    )


def failed(text, people, key="send", *, ran=True, code="lab.refused", log=""):
    run = approved(text, *people)
    lease = claimed(run, key)
    if log:
        log_line(run, key, log)
    completed(lease, Failure(code, "The target said no.", ran=ran))
    return run


@pytest.mark.parametrize(
    ("action", "ran", "effect", "is_touched"),
    [
        ("effect", True, "some changes may have been made", True),
        ("effect", False, "Nothing was changed: the step failed before", False),
        ("echo", True, "Nothing was changed: this action is read-only", False),
    ],
)
def test_the_banner_says_what_failed_why_and_whether_it_had_an_effect(
    proposer, operator, action, ran, effect, is_touched
) -> None:
    text = plan(step("send", action, params={"to": "desk-7"}))
    run = failed(text, (proposer, operator), ran=ran)

    shown = banner(run, signed_in(operator))

    assert "Step “" in shown
    assert "send" in shown
    assert "The target said no." in shown
    assert "lab.refused" in shown
    assert effect in shown
    assert ("desk-7" in shown) is is_touched
    assert f'href="/runs/{run.pk}/steps/send"' in shown
    assert 'data-open-step="step-send"' in shown


def test_the_banner_has_the_last_twenty_lines_of_the_log(proposer, operator) -> None:
    lines = "".join(f"line {number}\n" for number in range(1, 101))
    run = failed(plan(step("send")), (proposer, operator), log=lines)

    shown = banner(run, signed_in(operator))

    assert "line 81\n" in shown
    assert "line 100" in shown
    assert "line 80\n" not in shown


def test_the_banner_names_the_item_that_failed_and_not_its_list(
    proposer, operator, worker
) -> None:
    text = plan(step("each", "misbehave", forEach=["ok"], params={"how": "fail"}))
    run = driven(approved(text, proposer, operator), worker)
    item = run.steps.get(item=0)

    page = page_of(run, signed_in(operator))

    assert rows(page, "run-failure") == 1
    assert "Step “ each [0] ” failed" in words(page).replace("each [0]", " each [0] ")
    assert f"/steps/{item.pk}" in banner(run, signed_in(operator))


def test_the_banner_names_the_path_of_a_step_of_a_sub_plan(
    proposer, operator, worker
) -> None:
    text = plan(step("make", "misbehave", params={"how": "fail"}), id="inner")
    saving.save_plan(text=text, by=proposer.actor(), at=clock.now())
    outer = plan({"id": "sub", "kind": "plan", "plan": "inner"})
    run = driven(approved(outer, proposer, operator), worker)

    page = page_of(run, signed_in(operator))

    assert rows(page, "run-failure") == 1
    assert "sub/make" in banner(run, signed_in(operator))


def test_the_announcement_names_what_the_run_waits_for(
    proposer, operator, worker
) -> None:
    run = driven(approved(FAILING, proposer, operator), worker)

    numbers = element(page_of(run, signed_in(operator)), "run-numbers")

    assert "Waiting for a user to act on the failed step" in numbers.partition(">")[0]


def test_a_finished_run_shows_its_last_output_and_what_can_be_done_next(
    proposer, operator, worker
) -> None:
    run = driven(approved(TWO_STEPS, proposer, operator), worker)

    own = page_of(run, signed_in(proposer))
    audited = page_of(run, signed_in(person("auditor", Role.AUDITOR)))

    assert rows(own, "run-last-output") == 2
    assert "Output of step second" in words(own)
    assert "Start again" in element(own, "run-result")
    assert f"/plans/new?run={run.pk}" in element(own, "run-result")
    assert "Audit log" not in words(own)
    assert f"/trace?stream=run:{run.pk}" in audited.content.decode()
    assert "Edit and propose" not in words(audited)


def test_a_finished_run_shows_its_files(proposer, operator, worker) -> None:
    text = plan(step("note", "write", params={"text": "hello"}))
    run = driven(approved(text, proposer, operator), worker)

    page = page_of(run, signed_in(proposer))

    assert run.state == "succeeded"
    assert rows(page, "run-last-files") == 1
    assert "/artifacts/" in element(page, "run-result")


def test_a_run_that_has_not_ended_has_no_result(proposer, operator) -> None:
    run = approved(TWO_STEPS, proposer, operator)

    assert rows(page_of(run, signed_in(proposer)), "run-result") == 0


@pytest.mark.promise("S0.19")
def test_logs_events_and_failures_of_a_chain_are_found_together(
    proposer, operator
) -> None:
    text = plan(step("first"), step("send", after="first"))
    run = approved(text, proposer, operator)
    lease = claimed(run, "first")
    log_line(run, "first")
    lease = completed(lease)
    log_line(run, "send")
    completed(lease, Failure("lab.refused", "The target said no."))
    client = signed_in(operator)

    logs = [
        client.get(f"/runs/{run.pk}/steps/{key}/log").content.decode()
        for key in ("first", "send")
    ]
    log = {"stream": run.stream}
    events = client.get("/trace", log)
    failures = client.get("/trace", log | {"failure": "Failed"})

    assert logs == ["first at work", "send at work"]
    assert rows(events, "trace-row") == audit.head(run.stream)
    assert rows(failures, "trace-row") == rows(failures, "failure-name") == 1
    assert "The target said no." in words(failures)
