"""A log that is watched is the log after a reload, byte for byte."""

import json

from playwright.sync_api import Page, expect

from tests import builders
from tests.browser import pages
from tests.browser.browsing import Browsing


def open_step(page: Page, key: str) -> None:
    page.get_by_test_id(f"step-{key}").locator("summary").click()


def text_of_log(page: Page) -> str:
    return str(page.locator("#log-1").evaluate("(log) => log.textContent"))


def test_a_live_log_is_the_log_after_a_reload(browse: Browsing):
    plan = json.loads(builders.chain(2, "witness-again"))
    first, second = plan["plan"]["steps"]
    first["params"] = {"mark": "wait", "after": 4}
    second |= {"action": "misbehave", "params": {"how": "flood"}}
    page = browse("operator")
    pages.start(browse("proposer"), page, json.dumps(plan))
    pages.expect_live(page)
    pages.keep_unbroken(page)
    open_step(page, "s1")
    expect(page.locator("#log-1")).to_have_count(1)

    pages.expect_state(page, "succeeded")
    expect(page.locator("#log-1 .log-gap")).to_contain_text("lines")
    live = text_of_log(page)
    assert pages.is_unbroken(page)
    page.reload()
    open_step(page, "s1")
    expect(page.locator("#log-1 .log-gap")).to_contain_text("lines")

    assert text_of_log(page) == live
    assert live.endswith("flood \n")
    assert "\n\n" not in live
