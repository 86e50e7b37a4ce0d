"""A watched run page claims nothing, and offers nothing, that is over."""

import json

from playwright.sync_api import Page, expect

from tests import builders
from tests.browser import pages
from tests.browser.browsing import Browsing

WRITTEN = "(log) => getComputedStyle(log, '::before').content.replaceAll('\"', '')"


def _at_work(browse: Browsing, *, seconds: float) -> Page:
    """Open the page of a run with two slow steps."""
    plan = json.loads(builders.chain(2, "witness-again"))
    for step in plan["plan"]["steps"]:
        step["params"] = {"mark": step["id"], "after": seconds}
    page = browse("operator")
    pages.start(browse("proposer"), page, json.dumps(plan))
    pages.expect_live(page)
    pages.keep_unbroken(page)
    return page


def test_a_run_that_ends_cannot_be_cancelled_any_more(browse: Browsing):
    page = _at_work(browse, seconds=1)
    cancel, off = page.get_by_test_id("cancel"), page.get_by_test_id("cancel-off")
    expect(cancel).to_be_visible()
    expect(off).to_have_count(0)

    pages.expect_state(page, "succeeded")

    expect(cancel).to_be_hidden()
    expect(off).to_be_disabled()
    expect(off).to_have_attribute("title", "The run has ended.")
    assert pages.is_unbroken(page)


def test_an_empty_log_says_whether_more_can_come(browse: Browsing):
    page = _at_work(browse, seconds=6)
    page.get_by_test_id("step-s1").locator("summary").click()
    log = page.locator("#log-1")
    expect(log).to_have_count(1)
    assert log.evaluate(WRITTEN) == "Nothing written yet."

    pages.expect_state(page, "succeeded")

    assert log.evaluate(WRITTEN) == "It wrote nothing."
    assert pages.is_unbroken(page)


def test_a_record_that_grows_is_not_called_verified_before_it_is(browse: Browsing):
    page = _at_work(browse, seconds=2)
    badge = page.get_by_test_id("run-verified")
    verified = badge.locator("[data-state=verified]")
    again = badge.locator("[data-state=checking]")
    expect(verified).to_be_visible()
    page.route("**/verified", lambda _: None)

    expect(again).to_be_visible()
    expect(verified).to_be_hidden()
    pages.expect_state(page, "succeeded")
    expect(verified).to_be_hidden()

    page.unroute("**/verified")
    page.evaluate("htmx.trigger(document.body, 'live-idle')")
    expect(again).to_be_hidden()
    expect(verified).to_be_visible()
