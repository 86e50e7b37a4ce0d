"""What the pages of an approval and of a run say about waits."""

import pytest

from orchestration.runs.models import Run
from tests.builders import approved, driven, open_gate, plan, proposed, step
from tests.console_builders import signed_in, words
from tests.web.run_builders import page_of, step_of

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]

PLAN = plan(
    {"id": "pause", "kind": "wait", "for": "10m"},
    step("then", after="pause"),
)


def test_an_approval_says_how_long_a_step_waits(proposer, operator):
    run = proposed(PLAN, proposer)

    page = words(signed_in(operator).get(f"/gates/{open_gate(run).pk}"))

    assert "Waits 10m." in page
    assert "Waits for an approval" not in page


def test_an_approval_says_who_may_send_an_event(proposer, operator):
    event = {"id": "paid", "kind": "wait", "event": {"type": "invoice.paid"}}
    client = signed_in(operator)
    for_event, for_time = (
        words(client.get(f"/gates/{open_gate(proposed(text, proposer)).pk}"))
        for text in (plan(event), PLAN)
    )

    assert "Waits for event invoice.paid." in for_event
    assert "Any user or agent who may propose can send this event" in for_event
    assert "can send this event" not in for_time


def test_a_run_says_what_it_waits_for(proposer, operator):
    run = approved(PLAN, proposer, operator)
    client = signed_in(operator)
    ends_at = run.steps.get(key="pause").not_before

    page = words(page_of(run, client))
    assert f"Step “pause” waits until {ends_at:%Y-%m-%d %H:%M:%S} UTC." in page
    detail = words(step_of(run, "pause", client))
    assert "Waits 10m." in detail
    assert "No worker is used meanwhile." in detail
    assert "Parameters" not in detail


def test_a_run_says_why_it_is_paused_as_it_was_written(proposer, operator, worker):
    each = {"forEach": ["a", "b"], "params": {"how": "fail"}}
    text = plan(step("first", "misbehave", **each), onFailure="pause")
    run = driven(approved(text, proposer, operator), worker)
    client = signed_in(operator)
    assert run.state == "paused"
    assert run.reason == "Step first failed."

    # The failed step is listed too.
    page = words(page_of(run, client))
    assert "The run is paused because a step failed." in page
    for reason in ("The nightly import failed.", "Step one of the import failed."):
        Run.objects.filter(pk=run.pk).update(reason=reason)
        page = words(page_of(run, client))
        assert reason in page
        assert "because a step failed" not in page
