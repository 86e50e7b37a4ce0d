"""A run that has ended is run again from the step that failed, and compared."""

from playwright.sync_api import Page, expect

from tests.browser import pages
from tests.browser.browsing import Browsing, look_at

PLAN = """\
plan:
  id: run-again
  name: Publish a note
  onFailure: abort
  inputs:
    properties: {outcome: {type: string, title: Outcome of the check}}
    required: [outcome]
  steps:
    - {id: collect, skill: lab, action: write, params: {text: A note}}
    - {id: announce, skill: lab, action: effect, dependsOn: [collect], params: {ticket: T-1}}
    - {id: check, skill: lab, action: misbehave, dependsOn: [announce], params: {how: $inputs.outcome}}
    - {id: report, skill: lab, action: echo, dependsOn: [check], params: {ok: $check.output.ok}}
"""


def test_a_failed_run_is_run_again_from_the_failed_step(browse: Browsing) -> None:
    proposer, operator = browse("proposer"), browse("operator")
    first = pages.start(proposer, operator, PLAN, {"outcome": "fail"})
    proposer.goto(f"/runs/{first}")
    pages.expect_state(proposer, "failed")

    proposer.get_by_test_id("rerun").click()
    expect(proposer.get_by_test_id("rerun-first")).to_have_value("check")
    expect(proposer.get_by_label("Outcome of the check")).to_have_value("fail")
    look_at(proposer, "rerun-form")
    proposer.get_by_label("Outcome of the check").fill("ok")
    proposer.get_by_test_id("rerun-propose").click()
    again = pages.run_id(proposer)
    expect(proposer.get_by_test_id("rerun-of")).to_contain_text("from check")

    pages.open_from_inbox(operator, again)
    expect(operator.get_by_test_id("gate-rerun")).to_contain_text("step check")
    look_at(operator, "rerun-gate")
    pages.approve(operator)

    pages.expect_state(proposer, "succeeded")
    expect(proposer.get_by_test_id("reused")).to_have_count(2)
    _open_step(proposer, "announce")
    look_at(proposer, "rerun-run")
    proposer.get_by_test_id("compare").click()
    differing = proposer.get_by_test_id("step-difference")
    expect(differing).to_have_count(2)
    expect(proposer.get_by_test_id("same-step")).to_have_count(2)
    look_at(proposer, "rerun-compare")
    proposer.goto(f"/runs/{first}")
    expect(proposer.get_by_test_id("reruns")).to_contain_text(again[:8])


def _open_step(page: Page, key: str) -> None:
    page.get_by_test_id(f"step-{key}").locator("summary").first.click()
    expect(page.get_by_test_id(f"step-reused-{key}")).to_be_visible()
