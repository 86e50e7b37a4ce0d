"""Events about items and steps of sub-plans say which one they are about."""

from datetime import timedelta

import pytest

from audit import selectors as audit
from execfabric.lib import clock
from execfabric.lib.ids import span_id
from orchestration.plans.services import saving
from orchestration.runs.domain.results import Failure
from orchestration.runs.engine import attempts
from orchestration.runs.keeper import sweep
from orchestration.runs.pages import step_page
from tests.builders import approved, completed, plan, step

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry"),
]

SUB = {"id": "sub", "kind": "plan", "plan": "inner"}


def events(run, kind):
    found = audit.events_after(run.stream, 0, limit=500)
    return [audit.envelope(one) for one in found if one.kind == kind]


def claimed_item(run, item):
    row = run.steps.get(key="each", item=item)
    return attempts.claim(
        step_run_id=row.id,
        worker="w",
        session=span_id(),
        at=clock.now(),
    )


@pytest.fixture
def inner(proposer):
    text = plan(step("s", sla="1m", concurrency={"key": "k"}), id="inner")
    saving.save_plan(text=text, by=proposer.actor(), at=clock.now())


def test_a_step_of_a_sub_plan_that_gets_its_place_or_is_late(proposer, operator, inner):
    run = approved(plan(SUB), proposer, operator)
    sweep.sweep(at=clock.now() + timedelta(minutes=5))

    for kind in ("step.admitted", "step.sla_breached"):
        [event] = events(run, kind)
        assert event["payload"]["path"] == "sub/s"
        assert event["componentTag"] == "step:sub/s"


def test_a_late_result_of_an_item(proposer, operator):
    run = approved(plan(step("each", forEach=[1, 2])), proposer, operator)
    lease = claimed_item(run, 0)
    attempts.not_started(lease.session, "It was never handed over.", at=clock.now())

    completed(lease)

    [event] = events(run, "attempt.late_result")
    assert event["payload"]["item"] == 0


def test_the_page_of_a_fallback_has_the_error_of_its_own_item(proposer, operator):
    fallback = {"skill": "lab", "action": "echo"}
    each = step("each", forEach=[0, 1], fallback=fallback)
    run = approved(plan(each, parallel=True), proposer, operator)
    for item in (0, 1):
        completed(claimed_item(run, item), Failure("lab.failed", f"Item {item}."))

    causes = [
        step_page._cause(row)["message"]
        for row in run.steps.filter(key="each.fallback").order_by("item")
    ]

    assert causes == ["Item 0.", "Item 1."]
