"""The list of runs and the page of one: what is shown, to whom, and what can be asked."""

import re

import pytest
from django.test import Client

from audit import selectors as audit
from execfabric.accounts import services as accounts
from execfabric.accounts.models import User
from execfabric.lib import clock
from execfabric.lib.actor import system
from orchestration.runs import selectors
from orchestration.runs.models import Attempt, LogChunk, Run, StepRun
from orchestration.runs.services import artifacts, proposals
from tests.builders import approved, driven, open_gate, plan, proposed, step
from tests.console_builders import codes, rows, signed_in, words

pytestmark = pytest.mark.usefixtures("registry")
AIM = 12
"""Queries that a page may make."""

TWO_STEPS = plan(
    step("first", params={"word": "hello"}),
    step("second", after="first", params={"word": "$first.output.word"}),
)
GATED = plan(
    step("first", params={"word": "hello"}),
    step(
        "second",
        after="first",
        params={"word": "$first.output.word"},
        approval={"reason": "Look at it"},
    ),
)
FAILING = plan(step("only", "misbehave", params={"how": "fail"}))


def page_of(run: Run, client: Client, **query: str):
    return client.get(f"/runs/{run.pk}", query)


def element(page, identity: str) -> str:
    """One live part of a page, from its opening tag to the next part's."""
    text = page.content.decode()
    start = text.index(f'id="{identity}"')
    return text[start : start + 2500]


def lost_after_intent(run: Run, key: str) -> StepRun:
    """The step as the sweep leaves it when its worker died after intent."""
    row = run.steps.get(key=key)
    at = clock.now()
    Attempt.objects.create(
        step_run=row,
        fence=1,
        generation=1,
        worker="gone",
        phase="lost",
        spec=row.spec,
        session_id="0" * 16,
        started_at=at,
        intent_at=at,
        ended_at=at,
    )
    error = {"code": "step.worker_lost", "message": "The worker died.", "ran": None}
    StepRun.objects.filter(pk=row.pk).update(
        state="indeterminate", error=error, worker="gone", tries=1
    )
    row.refresh_from_db()
    return row


@pytest.mark.promise("S1.2")
def test_the_page_shows_every_step_from_the_start(proposer) -> None:
    run = proposed(GATED, proposer)

    page = page_of(run, signed_in(proposer))

    assert rows(page, "step-first") == rows(page, "step-second") == 1
    assert page.content.decode().count('data-state="pending"') >= 2
    assert "0 of 2 steps" in words(page)
    assert "Parameters, not resolved yet" in words(page)
    assert "$first.output.word" in words(page)


def test_the_page_says_what_is_waited_for_by_whom_and_where(proposer, operator) -> None:
    run = proposed(TWO_STEPS, proposer)

    page = page_of(run, signed_in(operator))

    waits = element(page, "run-waits")
    assert "The plan waits for approval" in waits
    assert "operator 0 of 1" in waits
    assert f"/gates/{open_gate(run).pk}" in waits


@pytest.mark.promise("S0.4", "S0.9")
def test_after_the_work_values_outputs_and_attempts_are_there(
    proposer, operator, bench
) -> None:
    run = driven(approved(TWO_STEPS, proposer, operator), bench)

    page = page_of(run, signed_in(proposer))

    assert run.state == "succeeded"
    text = words(page)
    assert "2 of 2 steps" in text
    assert text.count("Parameters, resolved") == 2
    assert "word : hello" in text.replace("word hello", "word : hello")
    assert rows(page, "step-output-second") == 1


def test_a_failure_says_what_happened_whether_anything_ran_and_what_to_do(
    proposer, operator, bench
) -> None:
    run = driven(approved(FAILING, proposer, operator), bench)

    page = page_of(run, signed_in(operator))

    error = element(page, "body-0")
    assert "The target said no." in error
    assert "It ran and changed nothing: this action only reads." in error
    assert "Mend the cause." in error
    assert "lab.refused" in error


@pytest.mark.parametrize("part", ["", "/live", "/verified", "/steps/first/log"])
def test_whoever_may_not_see_a_run_is_told_that_there_is_none(
    proposer, stranger, part
) -> None:
    run = proposed(TWO_STEPS, proposer)

    answer = signed_in(stranger).get(f"/runs/{run.pk}{part}")

    assert answer.status_code == 404
    assert codes(answer) == ["run.unknown"]


def test_the_list_shows_ones_own_runs_and_those_of_ones_agents(
    proposer, operator, stranger
) -> None:
    agent, _ = accounts.create_agent(
        name="planner", owner="proposer", by=system("test"), at=clock.now()
    )
    proposed(TWO_STEPS, proposer)
    proposals.propose(text=TWO_STEPS, inputs={}, by=agent.actor(), at=clock.now())

    assert rows(signed_in(proposer).get("/runs"), "run-row") == 2
    assert rows(signed_in(operator).get("/runs"), "run-row") == 2
    assert rows(signed_in(stranger).get("/runs"), "run-row") == 0


def test_an_agents_run_names_the_agent_and_whoever_answers_for_it(proposer) -> None:
    agent, _ = accounts.create_agent(
        name="planner", owner="proposer", by=system("test"), at=clock.now()
    )
    run = proposals.propose(text=TWO_STEPS, inputs={}, by=agent.actor(), at=clock.now())

    text = words(page_of(run, signed_in(proposer)))

    assert "planner agent for proposer" in text


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        pytest.param({"state": "awaiting_approval"}, 1, id="its state"),
        pytest.param({"state": "succeeded"}, 0, id="another state"),
        pytest.param({"state": "no-such-state"}, 1, id="no state at all"),
        pytest.param({"plan": "laboratory"}, 1, id="part of the name"),
        pytest.param({"plan": "elsewhere"}, 0, id="another name"),
        pytest.param({"proposer": "prop"}, 1, id="part of the proposer"),
        pytest.param({"before": "not-an-id"}, 1, id="a cursor that is none"),
    ],
)
def test_the_list_is_filtered_by_the_address(proposer, query, expected) -> None:
    proposed(TWO_STEPS, proposer)

    assert rows(signed_in(proposer).get("/runs", query), "run-row") == expected


def test_list_and_home_need_few_queries_however_long_they_are(
    proposer, operator, django_assert_max_num_queries
) -> None:
    for _ in range(6):
        proposed(TWO_STEPS, proposer)
    client = signed_in(operator)

    with django_assert_max_num_queries(AIM):
        client.get("/runs")
    with django_assert_max_num_queries(AIM):
        client.get("/")


@pytest.mark.promise("S1.15")
def test_pause_and_resume_are_asked_for_by_post_and_confirmed(
    proposer, operator, bench
) -> None:
    run = approved(TWO_STEPS, proposer, operator)
    client = signed_in(operator)

    client.post(f"/runs/{run.pk}/pause")
    run.refresh_from_db()
    paused = run.state
    client.post(f"/runs/{run.pk}/resume")

    assert paused == "paused"
    assert driven(Run.objects.get(pk=run.pk), bench).state == "succeeded"


def test_cancel_keeps_the_reason(proposer, operator) -> None:
    run = approved(TWO_STEPS, proposer, operator)

    signed_in(proposer).post(f"/runs/{run.pk}/cancel", {"reason": "Not this month."})

    run.refresh_from_db()
    assert run.state == "cancelled"
    assert "Not this month." in words(page_of(run, signed_in(proposer)))


@pytest.mark.parametrize("ask", ["pause", "resume", "cancel"])
def test_looking_at_an_address_that_acts_changes_nothing(
    proposer, operator, ask
) -> None:
    run = approved(TWO_STEPS, proposer, operator)

    answer = signed_in(operator).get(f"/runs/{run.pk}/{ask}")

    assert answer.status_code == 405
    run.refresh_from_db()
    assert run.state == "running"


def test_what_cannot_be_asked_for_is_shown_with_the_reason(proposer, auditor) -> None:
    run = proposed(TWO_STEPS, proposer)

    own = page_of(run, signed_in(proposer))
    foreign = page_of(run, signed_in(auditor))

    assert "The run is not paused." in element(own, "ctl-resume")[:600]
    assert "disabled" not in element(own, "ctl-cancel")[:300]
    assert (
        "Only operators, admins and the proposer"
        in element(foreign, "ctl-cancel")[:600]
    )


def test_cancel_is_not_unfolded_where_it_cannot_be_asked_for(proposer, auditor) -> None:
    run = proposed(TWO_STEPS, proposer)

    own = page_of(run, signed_in(proposer))
    foreign = page_of(run, signed_in(auditor))
    signed_in(proposer).post(f"/runs/{run.pk}/cancel")
    ended = page_of(run, signed_in(proposer))

    assert rows(own, "cancel-off") == 0
    assert "Only operators, admins" in element(foreign, "cancel-off")[:300]
    assert "The run has ended." in element(ended, "cancel-off")[:300]


def test_asking_without_the_right_is_refused_by_name(proposer, auditor) -> None:
    run = proposed(TWO_STEPS, proposer)

    answer = signed_in(auditor).post(f"/runs/{run.pk}/cancel")

    assert answer.status_code == 403
    assert codes(answer) == ["run.not_controllable"]
    run.refresh_from_db()
    assert run.state == "awaiting_approval"


def test_asking_too_late_is_a_conflict(proposer, operator) -> None:
    run = proposed(TWO_STEPS, proposer)

    answer = signed_in(operator).post(f"/runs/{run.pk}/resume")

    assert answer.status_code == 409
    assert codes(answer) == ["state.illegal_transition"]
    assert "The run is awaiting approval; it cannot be resumed." in words(answer)


def test_a_run_that_has_ended_is_said_so_when_it_is_asked_again(
    proposer, operator
) -> None:
    run = proposed(TWO_STEPS, proposer)
    client = signed_in(operator)
    client.post(f"/runs/{run.pk}/cancel")

    answer = client.post(f"/runs/{run.pk}/cancel")

    assert codes(answer) == ["state.illegal_transition"]
    said = "The run has ended (cancelled); it can no longer be cancelled."
    assert said in words(answer)


def test_the_events_are_there_in_order_and_each_once(proposer, operator, bench) -> None:
    run = driven(approved(GATED, proposer, operator), bench)

    page = page_of(run, signed_in(operator), view="events")

    shown = re.findall(r'id="ev-(\d+)"', page.content.decode())
    assert [int(seq) for seq in shown] == list(range(1, audit.head(run.stream) + 1))


def test_the_record_of_the_run_is_checked_for_the_badge(proposer, operator) -> None:
    run = approved(TWO_STEPS, proposer, operator)
    count = audit.head(run.stream)

    badge = signed_in(operator).get(f"/runs/{run.pk}/verified")

    assert f"Verified {count} of {count}" in words(badge)


def test_a_step_whose_outcome_nobody_knows_is_resolved_with_evidence(
    proposer, operator
) -> None:
    run = approved(TWO_STEPS, proposer, operator)
    lost_after_intent(run, "first")
    client = signed_in(operator)
    address = f"/runs/{run.pk}/steps/first/resolve"

    assert "Did “first” happen?" in words(client.get(address))
    without = client.post(address, {"happened": "yes", "evidence": "  "})
    client.post(address, {"happened": "yes", "evidence": "The ticket 17 shows it."})

    assert without.status_code == 422
    assert "Say how you know." in words(without)
    events = page_of(run, client, view="events")
    assert "The ticket 17 shows it." in words(events)
    assert run.steps.get(key="first").state == "succeeded"


def test_that_it_did_not_happen_cannot_be_said_while_it_may_still_be_at_work(
    proposer, operator
) -> None:
    run = approved(TWO_STEPS, proposer, operator)
    lost_after_intent(run, "first")

    answer = signed_in(operator).post(
        f"/runs/{run.pk}/steps/first/resolve",
        {"happened": "no", "evidence": "Nothing there."},
    )

    assert answer.status_code == 409
    assert codes(answer) == ["step.old_attempt_may_live"]
    assert "Nothing there." in answer.content.decode()


def test_only_those_with_the_right_are_asked_what_happened(proposer, operator) -> None:
    run = approved(TWO_STEPS, proposer, operator)
    lost_after_intent(run, "first")

    page = signed_in(proposer).get(f"/runs/{run.pk}/steps/first/resolve")

    assert "<textarea" not in page.content.decode()
    assert "An operator or an admin has to say what happened." in words(page)


def test_a_hostile_name_is_shown_and_not_obeyed(proposer) -> None:
    text = plan(
        step("first", name='<img src=x onerror="x()">\u202egnp'), name="<b>Plan</b>"
    )
    run = proposed(text, proposer)

    page = page_of(run, signed_in(proposer)).content.decode()

    assert "<img src=x" not in page
    assert "<b>Plan</b>" not in page
    assert "U+202E" in page


def test_the_log_is_shown_from_its_end_and_whole_as_plain_text(
    proposer, operator
) -> None:
    run = approved(TWO_STEPS, proposer, operator)
    row = run.steps.get(key="first")
    long = "".join(f"line {number}\n" for number in range(4000))
    LogChunk.objects.create(step_run=row, fence=1, offset=0, text=long, at=clock.now())
    LogChunk.objects.create(
        step_run=row, fence=1, offset=len(long), text="<end>", at=clock.now()
    )
    client = signed_in(proposer)

    page = page_of(run, client)
    raw = client.get(f"/runs/{run.pk}/steps/first/log")

    shown = (
        page.content.decode().split('<pre class="log" id="log-0"')[1].split("</pre>")[0]
    )
    assert "&lt;end&gt;" in shown
    assert "characters left out here" in shown
    assert len(shown) < 20_000
    assert b"".join(raw).decode() == long + "<end>"
    assert raw["Content-Type"] == "text/plain; charset=utf-8"


def test_a_log_keeps_its_layout_and_marks_what_would_deceive(
    proposer, operator
) -> None:
    run = approved(TWO_STEPS, proposer, operator)
    row = run.steps.get(key="first")
    table = "a" + " " * 20 + "b\n\n\n\n\n\tc\r\n"
    text = table + "safe\u202egnp.exe \x1b[31mred\u200b <i>"
    LogChunk.objects.create(step_run=row, fence=1, offset=0, text=text, at=clock.now())
    client = signed_in(proposer)

    page = page_of(run, client).content.decode()
    frame = client.get(f"/runs/{run.pk}/live?after=1&log=").content.decode()

    for html in (page, frame):
        assert table.replace("\r", "") in html.replace("\r", "")
        assert "&lt;i&gt;" in html
        assert all(f"U+{code}" in html for code in ("202E", "001B", "200B"))
        assert not {"\u202e", "\x1b", "\u200b"} & set(html)


def test_a_step_that_has_ended_is_marked_as_such(proposer, operator, bench) -> None:
    waiting = proposed(TWO_STEPS, proposer)
    ended = driven(approved(TWO_STEPS, proposer, operator), bench)

    assert "data-ended" not in element(page_of(waiting, signed_in(proposer)), "head-0")
    assert "data-ended" in element(page_of(ended, signed_in(proposer)), "head-0")[:80]


@pytest.mark.parametrize("cut", [0, 1, 5, 6, 7, 11, 12, 40])
def test_a_log_read_in_pieces_is_the_whole_log(proposer, operator, cut) -> None:
    run = approved(TWO_STEPS, proposer, operator)
    row = run.steps.get(key="first")
    for offset, text in ((0, "first\n"), (6, "second"), (12, "")):
        LogChunk.objects.create(
            step_run=row, fence=1, offset=offset, text=text, at=clock.now()
        )

    text, end = selectors.log_text(row, cut)

    assert text == "first\nsecond"[cut:]
    assert end == max(12, cut)


def test_a_file_is_handed_out_to_whoever_may_see_its_run_and_to_nobody_else(
    proposer, operator, stranger, bench, tmp_path
) -> None:
    run = approved(TWO_STEPS, proposer, operator)
    path = tmp_path / "report.html"
    path.write_text("<script>alert(1)</script>")
    row = run.steps.get(key="first")
    kept = artifacts.keep({"report": path}, step_run_id=row.pk, at=clock.now())
    sha256 = kept["report"]["$file"]["sha256"]

    page = page_of(run, signed_in(proposer))
    given = signed_in(proposer).get(f"/artifacts/{sha256}")
    refused = signed_in(stranger).get(f"/artifacts/{sha256}")

    assert rows(page, "file-first") == 1
    assert b"".join(given) == b"<script>alert(1)</script>"
    assert given["Content-Type"] == "application/octet-stream"
    assert given["Content-Disposition"].startswith("attachment;")
    assert refused.status_code == 404
    assert codes(refused) == ["artifact.unknown"]


@pytest.fixture
def people(proposer: User, operator: User) -> dict[str, User]:
    """Who proposes and who decides, by role."""
    return {"proposer": proposer, "operator": operator}


@pytest.mark.parametrize(
    ("fields", "role", "most"),
    [
        pytest.param({}, "proposer", AIM, id="its proposer"),
        # Its frame shows an operator what waits in the inbox.
        pytest.param({}, "operator", AIM + 2, id="an operator"),
        pytest.param({"approval": {}}, "operator", AIM + 4, id="thirty open gates"),
    ],
)
def test_the_page_of_a_run_needs_few_queries_however_many_steps_it_has(
    fields, role, most, people, django_assert_max_num_queries
) -> None:
    steps = [step(f"s{n}", params={"n": n}, **fields) for n in range(30)]
    text = plan(*steps, parallel={"max": 30})
    run = approved(text, people["proposer"], people["operator"])
    client = signed_in(people[role])

    with django_assert_max_num_queries(most):
        page = page_of(run, client)

    assert words(page).count("waits for approval") == (30 if fields else 0)
