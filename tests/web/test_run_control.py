"""What can be asked of a run on its page, by whom, and what is answered."""

import html
import re
from datetime import timedelta

import pytest

from orchestration.runs.models import Run
from tests.builders import approved, driven, plan, proposed, step
from tests.console_builders import codes, rows, signed_in, words
from tests.database import record_attempts
from tests.web.run_builders import TWO_STEPS, element, lost_after_intent, page_of

pytestmark = pytest.mark.usefixtures("registry")


def test_pause_and_resume_are_asked_for_by_post_and_confirmed(
    proposer, operator, worker
) -> None:
    run = approved(TWO_STEPS, proposer, operator)
    client = signed_in(operator)

    client.post(f"/runs/{run.pk}/pause")
    run.refresh_from_db()
    paused = run.state
    client.post(f"/runs/{run.pk}/resume")

    assert paused == "paused"
    assert driven(Run.objects.get(pk=run.pk), worker).state == "succeeded"


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

    assert (answer.status_code, answer["Location"]) == (302, f"/runs/{run.pk}")
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
    assert "Cannot resume the run: it is awaiting approval." in words(answer)


def test_a_run_that_has_ended_is_said_so_when_it_is_asked_again(
    proposer, operator
) -> None:
    run = proposed(TWO_STEPS, proposer)
    client = signed_in(operator)
    client.post(f"/runs/{run.pk}/cancel")

    answer = client.post(f"/runs/{run.pk}/cancel")

    assert codes(answer) == ["state.illegal_transition"]
    said = "Cannot cancel the run: it has ended (cancelled)."
    assert said in words(answer)


def test_a_step_whose_outcome_nobody_knows_is_resolved_with_evidence(
    proposer, operator
) -> None:
    run = approved(TWO_STEPS, proposer, operator)
    lost_after_intent(run, "first")
    client = signed_in(operator)
    address = f"/runs/{run.pk}/steps/first/resolve"

    assert "Outcome of “first”" in words(client.get(address))
    without = client.post(address, {"happened": "yes", "evidence": "  "})
    client.post(address, {"happened": "yes", "evidence": "The ticket 17 shows it."})

    assert without.status_code == 422
    assert "Enter how you know the outcome." in words(without)
    events = page_of(run, client, view="events")
    assert "The ticket 17 shows it." in words(events)
    assert run.steps.get(key="first").state == "succeeded"


EFFECT = plan(
    step("first", "effect"),
    step("second", after="first", params={"t": "$first.output.ticket"}),
)


def test_a_settled_step_gets_the_output_that_the_form_asks_for(
    proposer, operator
) -> None:
    run = approved(EFFECT, proposer, operator)
    lost_after_intent(run, "first")
    client = signed_in(operator)
    address = f"/runs/{run.pk}/steps/first/resolve"
    sent = {"happened": "yes", "evidence": "The ticket exists."}

    form = client.get(address).content.decode()
    blank = client.post(address, sent | {"output": '{"ticket": null}'})
    broken = client.post(address, sent | {"output": '{"ticket"'})
    listed = client.post(address, sent | {"output": "[]"})
    done = client.post(address, sent | {"output": '{"ticket": "T-17"}'})

    assert "&quot;ticket&quot;: null" in form
    assert "Its files (note) stay missing" in form
    assert codes(blank) == ["step.output_invalid"]
    assert blank.status_code == broken.status_code == listed.status_code == 422
    assert "Cannot read the JSON" in words(broken)
    assert "The output is not a JSON object." in words(listed)
    assert "The ticket exists." in words(broken)
    assert done.status_code == 302
    assert run.steps.get(key="first").output == {"ticket": "T-17"}


def test_an_output_that_was_typed_does_not_stand_in_the_way_of_a_no(
    proposer, operator
) -> None:
    run = approved(EFFECT, proposer, operator)
    lost_after_intent(run, "first")
    record_attempts(timedelta(hours=1))

    signed_in(operator).post(
        f"/runs/{run.pk}/steps/first/resolve",
        {"happened": "no", "evidence": "No ticket.", "output": '{"tick'},
    )

    assert run.steps.get(key="first").state == "failed"


def test_the_proposer_is_told_that_somebody_else_must_settle_it(
    operator, second_operator
) -> None:
    run = approved(EFFECT, operator, second_operator)
    lost_after_intent(run, "first")
    address = f"/runs/{run.pk}/steps/first/resolve"
    client = signed_in(operator)

    page = client.get(address)
    answer = client.post(address, {"happened": "yes", "evidence": "I know."})

    assert "You cannot resolve an outcome of a run that you proposed." in words(page)
    assert "<textarea" not in page.content.decode()
    assert answer.status_code == 403
    assert codes(answer) == ["step.own_outcome"]


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


def test_a_step_is_abandoned_if_no_one_can_find_out(proposer, operator) -> None:
    run = approved(TWO_STEPS, proposer, operator)
    lost_after_intent(run, "first")
    address = f"/runs/{run.pk}/steps/first/resolve"
    sent = {"happened": "abandon", "evidence": "The target is gone.", "output": "{"}

    page = signed_in(operator).get(address)
    answer = signed_in(operator).post(address, sent)

    assert "No one can find out" in words(page)
    assert answer.status_code == 302
    assert run.steps.get(key="first").error["code"] == "step.outcome_abandoned"


def messages_of(page) -> list[str]:
    text = page.content.decode()
    found = re.findall(r'data-testid="message">.*?</svg><div>(.*?)</div>', text)
    return [html.unescape(re.sub(r"<[^>]+>", "", one)) for one in found]


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        pytest.param("pause", "The run is paused. Resume it to continue.", id="pause"),
        pytest.param("cancel", "The run is cancelled.", id="cancel"),
    ],
)
def test_the_answer_to_a_request_is_the_state_after_it(
    ask, said, proposer, operator
) -> None:
    run = approved(TWO_STEPS, proposer, operator)

    page = signed_in(operator).post(f"/runs/{run.pk}/{ask}", follow=True)

    [message] = messages_of(page)
    assert message.startswith(said)


def test_resuming_with_an_unknown_outcome_does_not_claim_that_the_run_goes_on(
    proposer, operator
) -> None:
    run = approved(TWO_STEPS, proposer, operator)
    lost_after_intent(run, "first")
    client = signed_in(operator)
    client.post(f"/runs/{run.pk}/pause")

    offered = element(page_of(run, client), "ctl-resume")[:600]
    page = client.post(f"/runs/{run.pk}/resume", follow=True)

    run.refresh_from_db()
    assert run.state == "paused"
    assert "disabled" in offered
    assert "First resolve the outcome of step “first”." in offered
    [message] = messages_of(page)
    assert message.startswith("The run is paused")
    assert (
        "notice-wait" in page.content.decode().split('data-testid="message"')[0][-90:]
    )


def test_an_outcome_is_confirmed_with_what_the_run_does_then(
    proposer, operator
) -> None:
    run = approved(TWO_STEPS, proposer, operator)
    lost_after_intent(run, "first")
    client = signed_in(operator)
    client.post(f"/runs/{run.pk}/pause")
    address = f"/runs/{run.pk}/steps/first/resolve"

    form = words(client.get(address))
    page = client.post(address, {"happened": "yes", "evidence": "Seen."}, follow=True)

    assert "The run stays paused until it is resumed." in form
    [message] = messages_of(page)
    assert message.startswith(
        "Outcome recorded. The run is paused. Resume it to continue."
    )


def test_only_those_with_the_right_are_asked_what_happened(proposer, operator) -> None:
    run = approved(TWO_STEPS, proposer, operator)
    lost_after_intent(run, "first")

    page = signed_in(proposer).get(f"/runs/{run.pk}/steps/first/resolve")

    assert "<textarea" not in page.content.decode()
    assert "Only an operator or an admin can record the outcome." in words(page)
