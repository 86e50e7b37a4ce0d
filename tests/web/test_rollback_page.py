"""The pages of a rollback: preview, confirmation, report."""

from http import HTTPStatus

import pytest
from django.urls import reverse

from execfabric.lib import clock
from orchestration.runs.control import step_actions
from tests.builders import approved, driven, plan, step
from tests.integration.rollback_builders import (
    FAILS,
    done,
    failing,
    marks,
    rolled_back,
    undoable,
)

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]


@pytest.fixture
def paused(proposer, operator, worker, witness):
    text = undoable(2, failing("bad", after="s1"), done("later", after="bad"))
    return driven(approved(text, proposer, operator), worker)


def page_of(run):
    return reverse("run_rollback", args=[run.pk])


def test_an_operator_previews_confirms_and_reads_the_report(
    client, operator, paused, worker, witness
):
    client.force_login(operator)
    assert page_of(paused) in client.get(f"/runs/{paused.pk}").content.decode()

    shown = client.get(page_of(paused))
    text = shown.content.decode()
    assert text.index('data-testid="undo-s1"') < text.index('data-testid="undo-s0"')
    assert "undo-s1" in text
    digest = shown.context["rollback"].digest
    answer = client.post(page_of(paused), {"digest": digest, "reason": "Broken."})
    assert answer.status_code == HTTPStatus.FOUND
    driven(paused, worker)

    text = client.get(f"/runs/{paused.pk}").content.decode()
    assert marks(witness)[2:] == ["undo-s1", "undo-s0"]
    assert 'data-testid="report-s0" data-outcome="undone"' in text
    assert 'data-testid="report-bad" data-outcome="not_undone"' in text
    assert 'data-testid="report-later" data-outcome="skipped"' in text
    assert "Requested by" in text
    assert "Broken." in text


def test_a_confirmation_of_an_old_preview_is_refused_on_the_page(
    client, operator, paused
):
    client.force_login(operator)

    answer = client.post(page_of(paused), {"digest": "0" * 64, "reason": "Broken."})

    assert "has changed since it was previewed" in answer.content.decode()
    paused.refresh_from_db()
    assert paused.state == "paused"


def test_a_running_run_has_no_link_and_says_why(client, operator, proposer):
    run = approved(undoable(1), proposer, operator)
    client.force_login(operator)

    assert page_of(run) not in client.get(f"/runs/{run.pk}").content.decode()
    text = client.get(page_of(run)).content.decode()
    assert "Pause or cancel it first" in text
    assert "do-rollback" not in text


def test_a_reader_sees_the_preview_without_the_form(client, auditor, paused):
    client.force_login(auditor)

    text = client.get(page_of(paused)).content.decode()

    assert "undo-s1" in text
    assert "do-rollback" not in text


def test_a_stopped_rollback_says_what_to_do(client, operator, proposer, worker):
    text = plan(done("s0"), done("s1", after="s0", rollback=FAILS))
    run = driven(approved(text, proposer, operator), worker)
    rolled_back(run, operator)
    run = driven(run, worker)
    client.force_login(operator)

    shown = client.get(f"/runs/{run.pk}").content.decode()

    assert "The rollback needs an operator." in shown
    assert "The target said no." in shown
    assert 'data-testid="report-s1" data-outcome="not_undone"' in shown
    assert "The rollback stopped before it." in shown
    undo = run.steps.get(key="s1.undo")
    page = client.get(reverse("step", args=[run.pk, undo.address])).content.decode()
    assert "Undo of step" in page
    own = client.get(reverse("step", args=[run.pk, "s1"])).content.decode()
    assert "View the undo of this step" in own


def test_a_stopped_rollback_has_one_link_to_its_page(
    client, operator, proposer, worker
):
    text = plan(done("s0"), done("s1", after="s0", rollback=FAILS))
    run = driven(approved(text, proposer, operator), worker)
    rolled_back(run, operator, to="s0")
    run = driven(run, worker)
    client.force_login(operator)
    assert client.get(f"/runs/{run.pk}").content.decode().count(page_of(run)) == 1

    undo = run.steps.get(key="s1.undo")
    step_actions.skip(
        step_actions.Request(undo.pk, "It stays.", operator.actor(), clock.now())
    )

    run.refresh_from_db()
    assert run.state == "rollback_failed"
    text = client.get(f"/runs/{run.pk}").content.decode()
    assert text.count(page_of(run)) == 1
    assert 'data-testid="rollback-link"' in text


def test_a_failed_undo_is_completed_by_hand_on_its_page(
    client, admin, operator, proposer, worker
):
    text = plan(done("s0"), done("s1", after="s0", rollback=FAILS))
    run = driven(approved(text, proposer, operator), worker)
    rolled_back(run, operator)
    run = driven(run, worker)
    undo = run.steps.get(key="s1.undo")
    address = reverse("step", args=[run.pk, undo.address])
    client.force_login(admin)

    shown = client.get(address).content.decode()
    form = client.get(f"{address}/complete").content.decode()
    values = {"reason": "It is gone.", "evidence": "<b>Ticket 7</b>"}
    answer = client.post(f"{address}/complete", values)

    for act in ("retry", "skip", "complete"):
        assert f'data-testid="act-{act}"' in shown
    assert 'name="evidence"' in form
    assert 'name="output"' not in form
    assert answer.status_code == HTTPStatus.FOUND
    assert driven(run, worker).state == "rolled_back"
    report = client.get(f"/runs/{run.pk}").content.decode()
    assert "admin undid it by hand: It is gone." in report
    assert "&lt;b&gt;Ticket 7" in report


def test_a_run_is_rolled_back_to_a_step_that_is_chosen_on_the_page(
    client, operator, paused, worker, witness
):
    client.force_login(operator)

    first = client.get(page_of(paused)).content.decode()
    shown = client.get(page_of(paused), {"to": "s0"})
    digest = shown.context["rollback"].digest
    values = {"digest": digest, "reason": "Broken.", "to": "s0"}
    other = client.post(page_of(paused), {**values, "to": ""})
    answer = client.post(page_of(paused), values)

    assert first.index('<option value="s1"') < first.index('<option value="s0"')
    assert '<option value="bad"' not in first
    text = shown.content.decode()
    assert '<option value="s0" selected' in text
    assert 'data-testid="undo-s1"' in text
    assert 'data-testid="undo-s0"' not in text
    assert "has changed since it was previewed" in other.content.decode()
    assert answer.status_code == HTTPStatus.FOUND
    assert driven(paused, worker).state == "rolled_back"
    assert marks(witness)[2:] == ["undo-s1"]


def test_a_step_with_nothing_after_it_is_refused_on_the_page(client, operator, paused):
    client.force_login(operator)

    text = client.get(page_of(paused), {"to": "s1"}).content.decode()

    assert "no completed step has an undo that has not run yet" in text
    assert 'data-testid="rollback-target"' in text
    assert "do-rollback" not in text


def test_undo_rows_are_no_steps_of_the_plan(client, operator, proposer, worker):
    run = driven(approved(undoable(2), proposer, operator), worker)
    rolled_back(run, operator)
    run = driven(run, worker)
    client.force_login(operator)

    text = client.get(f"/runs/{run.pk}").content.decode()

    assert "0 of 2 steps done, 2 compensated" in text
    assert 'data-testid="step-s0.undo"' not in text
    for view in ("graph", "artifacts", "events", "plan"):
        found = client.get(f"/runs/{run.pk}?view={view}")
        assert found.status_code == HTTPStatus.OK


def test_the_report_names_files(client, operator, proposer, worker):
    made = done("s0", params={"mark": "s0", "file": "text"})
    run = driven(approved(plan(made, step("look")), proposer, operator), worker)
    rolled_back(run, operator)
    run = driven(run, worker)
    client.force_login(operator)

    assert "note/note.txt" in client.get(f"/runs/{run.pk}").content.decode()
