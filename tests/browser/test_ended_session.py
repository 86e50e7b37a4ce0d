"""What was typed is still there after a session has ended, and nothing was decided."""

import re

from playwright.sync_api import expect

from tests import builders
from tests.browser import pages
from tests.browser.browsing import Browsing, Faults


def test_a_decision_after_the_session_has_ended_keeps_its_comment(
    browse: Browsing, faults: Faults
):
    faults.allow("status of 401|WebSocket")
    run = pages.propose(browse("proposer"), builders.chain(1))
    page = browse("operator")
    pages.open_from_inbox(page, run)
    gate = page.url
    page.get_by_label("Comment").fill("Checked with the team.")

    page.context.clear_cookies(name=re.compile("session"))
    page.get_by_role("button", name="Reject").click()

    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    page.get_by_test_id("demo-operator").click()
    expect(page.get_by_test_id("decision-form")).to_be_visible()
    assert page.url == gate
    expect(page.get_by_label("Comment")).to_have_value("Checked with the team.")
    pages.approve(page)
    page.goto(gate)
    expect(page.get_by_test_id("gate-decisions")).to_contain_text(
        "Checked with the team."
    )


def test_a_plan_that_was_typed_is_there_after_looking_elsewhere(browse: Browsing):
    page = browse("proposer")
    pages.write_plan(page, builders.chain(2))
    page.goto("/runs")

    page.goto("/plans/new")

    field = page.locator("[data-plan-text]")
    expect(field).to_have_value(builders.chain(2))
    expect(pages.plan_field(page)).to_contain_text('"steps"')
    page.get_by_test_id("plan-propose").click()
    pages.run_id(page)
    page.goto("/plans/new")
    expect(field).to_have_value("")
