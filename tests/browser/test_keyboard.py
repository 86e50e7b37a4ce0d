"""The way to a decision is open without a mouse, and the pages name their parts."""

import pytest
from playwright.sync_api import Page, expect

from tests import builders
from tests.browser import pages
from tests.browser.browsing import Browsing
from tests.browser.stack import Stack

TABS = 150
"""More than any page has stops."""

FOCUSED = """() => {
  const one = document.activeElement;
  const style = getComputedStyle(one);
  const ring = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 0;
  return [one.textContent.trim(), ring || style.boxShadow !== "none"];
}"""
NAMELESS = """() => [...document.querySelectorAll("input, select, textarea, button, a")]
  .filter((one) => one.type !== "hidden" && one.getClientRects().length)
  .filter((one) => {
    const labels = [...(one.labels || [])].map((label) => label.textContent);
    const words = [one.getAttribute("aria-label"), one.textContent, one.title, ...labels];
    return !words.some((text) => text && text.trim());
  })
  .map((one) => one.outerHTML.slice(0, 120))"""


def _tab_to(page: Page, words: str) -> None:
    """Press Tab until the thing with these words has the focus; each stop is visible."""
    for _ in range(TABS):
        page.keyboard.press("Tab")
        text, is_visible = page.evaluate(FOCUSED)
        assert is_visible, f"The focus cannot be seen on {text!r}."
        if words in text:
            return
    pytest.fail(f"Tab never reaches {words!r}.")


def test_a_gate_is_found_and_approved_with_the_keyboard_alone(browse: Browsing):
    run = pages.propose(browse("proposer"), builders.chain(1))
    page = browse()
    page.goto("/inbox")

    _tab_to(page, "Operator")
    page.keyboard.press("Enter")
    expect(pages.inbox_row(page, run)).to_be_visible()
    _tab_to(page, run[:13])
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("decision-form")).to_be_visible()
    pages.await_dry_run(page)
    _tab_to(page, "Approve")
    page.keyboard.press("Enter")

    assert pages.run_id(page) == run
    pages.expect_state(page, "succeeded")


def test_somebody_signs_in_with_a_password_and_the_keyboard(
    browse: Browsing, live: Stack
):
    page = browse()
    page.goto("/accounts/login/")
    page.get_by_label("User name").focus()

    page.keyboard.type("demo-auditor")
    page.keyboard.press("Tab")
    page.keyboard.type(live.password("auditor"))
    page.keyboard.press("Enter")

    expect(page.get_by_test_id("me")).to_contain_text("demo-auditor")


@pytest.mark.parametrize(
    ("role", "address"),
    [
        ("", "/accounts/login/"),
        ("operator", "/"),
        ("operator", "/inbox"),
        ("operator", "/runs"),
        ("proposer", "/plans/new?example=tag-release"),
        ("auditor", "/trace"),
        ("admin", "/skills"),
        ("admin", "/skills/files"),
        ("admin", "/skills/files/edit"),
    ],
)
def test_a_page_has_one_heading_and_names_for_all_it_offers(
    browse: Browsing, role: str, address: str
):
    page = browse(role)
    page.goto(address)

    expect(page.get_by_role("heading", level=1)).to_have_count(1)
    assert page.evaluate(NAMELESS) == []
    assert page.title().endswith("· ExecFabric")
    assert pages.overflow(page) == []
