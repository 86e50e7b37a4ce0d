"""What a run really does, why it failed, and who takes care of it."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser import pages
from tests.browser.browsing import NARROW, Browsing, Camera
from tests.builders import plan, step

FAILS = plan(
    step("talk", "witness", params={"mark": "talk", "say": 2500}),
    step("send", "once", after="talk", params={"how": "fail", "to": "desk-7"}),
    step("last", after="send"),
)
LOOKS = [
    pytest.param({}, "light", id="light"),
    pytest.param({"color_scheme": "dark"}, "dark", id="dark"),
    pytest.param({"size": NARROW, "has_touch": True}, "narrow", id="narrow"),
]


def _failed(browse: Browsing, **options: object) -> tuple[Page, str]:
    """Open the page of a run whose second step has failed."""
    page = browse("operator", **options)
    run = pages.start(browse("proposer"), page, FAILS)
    pages.expect_state(page, "paused")
    return page, run


def _mine(page: Page, run: str):
    """Return the item of a run in the attention queue."""
    items = page.get_by_test_id("attention-item")
    return items.filter(has=page.locator(f'a[href="/runs/{run}"]'))


@pytest.mark.parametrize(("options", "look"), LOOKS)
def test_failure_attention_and_log_are_whole_in_every_look(
    browse: Browsing, camera: Camera, options: dict, look: str
):
    page, run = _failed(browse, **options)
    banner = page.get_by_test_id("run-failure")
    expect(banner).to_contain_text("Step “send” failed.")
    expect(banner).to_contain_text("desk-7")
    status = page.get_by_test_id("run-status").first
    expect(status).to_contain_text("Waiting for a user to act on the failed step")
    expect(page.get_by_test_id("run-progress")).to_contain_text("1 failed")
    assert pages.overflow(page) == []
    camera.take(page, f"run-failed-{look}")

    page.goto("/attention")
    expect(_mine(page, run)).to_be_visible()
    assert pages.overflow(page) == []
    camera.take(page, f"attention-{look}")

    page.goto(f"/runs/{run}/steps/talk/lines?q=line+2345")
    expect(page.get_by_test_id("log-hits")).to_contain_text("Hit 1 of 1, line 2346")
    expect(page.locator("#L2346")).to_be_in_viewport()
    assert pages.overflow(page) == []
    camera.take(page, f"log-lines-{look}", whole=False)

    page.goto("/runs?waiting_for=failure")
    expect(page.locator(f"#run-{run}")).to_contain_text("1 of 3 done, 1 failed")
    assert pages.overflow(page) == []
    camera.take(page, f"runs-waiting-{look}")


def test_the_banner_opens_the_step_and_moves_the_focus_by_keyboard(browse: Browsing):
    page, _ = _failed(browse)
    link = page.get_by_test_id("run-failure").get_by_role("link", name="View step")

    link.focus()
    page.keyboard.press("Enter")

    row = page.get_by_test_id("step-send")
    expect(row.locator("details")).to_have_attribute("open", "")
    expect(row.locator("summary").first).to_be_focused()
    expect(row.get_by_test_id("step-error-send")).to_be_visible()


def test_someone_takes_an_item_and_another_user_sees_it(browse: Browsing):
    page, run = _failed(browse)
    page.goto("/attention")
    expect(page.locator("#attention-count")).not_to_be_empty()

    _mine(page, run).get_by_role("button", name="I take this").click()
    expect(_mine(page, run)).to_contain_text("You take care of it")

    other = browse("admin")
    other.goto("/attention")
    expect(_mine(other, run)).to_contain_text("demo-operator takes care of it")
    expect(_mine(other, run).get_by_role("button")).to_have_count(0)
    other.goto("/")
    expect(_mine(other, run)).to_be_visible()
    _mine(page, run).get_by_role("button", name="Release").click()
    expect(_mine(page, run)).to_contain_text("No one takes care of it")
    _mine(page, run).get_by_role("link", name="Open the failed step").click()
    expect(page.get_by_test_id("step-error-send")).to_be_visible()


def test_a_link_to_a_line_leads_to_its_page(browse: Browsing):
    page, run = _failed(browse)

    page.goto(f"/runs/{run}/steps/talk/lines#L2345")

    expect(page.locator("#L2345")).to_be_in_viewport()
    wrap = page.get_by_label("Wrap lines")
    lines = page.locator(".log-lines")
    expect(lines).to_have_css("white-space-collapse", "preserve")
    expect(lines).to_have_css("text-wrap-mode", "wrap")
    wrap.uncheck()
    expect(lines).to_have_css("text-wrap-mode", "nowrap")
