"""A failed step in the browser: skip it with its consequences, complete it by hand."""

from playwright.sync_api import Page, expect

from tests.browser import pages
from tests.browser.browsing import Browsing, Camera, Faults
from tests.builders import plan, step

FAILING = plan(
    step("order", params={"value": {"items": 3}}),
    step("total", after="order", params={"value": "$order.output.value.amount"}),
    step("send", after="total", params={"value": "$total.output.value?"}),
    step(
        "log",
        after="total",
        triggerRule="all_done",
        params={"value": "$total.output.value?"},
    ),
)


def _failed(browse: Browsing) -> Page:
    """Open the page of a run whose step `total` has failed."""
    page = browse("operator")
    pages.start(browse("proposer"), page, FAILING)
    pages.expect_state(page, "paused")
    return page


def _choose(page: Page, act: str) -> None:
    """Open the failed step on the page of its run, and choose what to do."""
    page.get_by_test_id("step-total").locator("summary").first.click()
    page.get_by_test_id(f"act-{act}").click()


def test_a_failed_step_is_skipped_with_its_consequences(
    browse: Browsing, camera: Camera
):
    page = _failed(browse)
    page.get_by_test_id("step-total").locator("summary").first.click()
    expect(page.get_by_test_id("step-actions-total")).to_contain_text("Retry step")
    camera.take(page, "failed-step")
    page.get_by_test_id("act-skip").click()

    expect(page.get_by_test_id("skip-skipped")).to_have_text("send")
    expect(page.get_by_test_id("skip-runs")).to_have_text("log")
    expect(page.get_by_test_id("skip-without")).to_have_text("log")
    page.get_by_label("Reason").fill("No total is needed today.")
    camera.take(page, "skip-step")
    page.get_by_test_id("act").click()

    pages.expect_state(page, "partially_succeeded")
    expect(page.get_by_test_id("run-reason")).to_contain_text(
        "Skipped by a user: total."
    )


def test_a_failed_step_is_completed_by_hand(browse: Browsing, camera: Camera):
    page = _failed(browse)
    _choose(page, "complete")

    page.get_by_label("Output", exact=True).fill('{"value": 120}')
    page.get_by_label("How can others check it?").fill("Ledger, page 7.")
    page.get_by_label("Reason").fill("Computed by hand.")
    camera.take(page, "complete-step")
    page.get_by_test_id("act").click()

    pages.expect_state(page, "succeeded")


def test_a_form_that_a_second_tab_has_overtaken_keeps_what_was_typed(
    browse: Browsing, faults: Faults
):
    faults.allow("status of 409")
    page = _failed(browse)
    _choose(page, "skip")
    page.get_by_label("Reason").fill("A long explanation.")
    other = page.context.new_page()
    other.goto(page.url.replace("/skip", "/complete"))
    other.get_by_label("Output", exact=True).fill('{"value": 120}')
    other.get_by_label("How can others check it?").fill("Ledger, page 7.")
    other.get_by_label("Reason").fill("Computed by hand.")
    other.get_by_test_id("act").click()
    expect(other.get_by_test_id("run-state")).to_be_visible()

    with page.expect_response("**/skip"):
        page.get_by_test_id("act").click()

    expect(page.get_by_test_id("refusal")).to_contain_text("Cannot skip the step")
    expect(page.get_by_label("Reason")).to_have_value("A long explanation.")
