"""A stop in the browser: it is set, every page shows it, and it is lifted."""

from playwright.sync_api import expect

from tests.browser.browsing import Browsing, Camera
from tests.browser.test_schedules import look

REASON = "The payment service is down. Ask the operators on call before you lift this."


def test_everything_is_stopped_and_every_page_says_so(
    browse: Browsing, camera: Camera
) -> None:
    page, other = browse("operator"), browse("proposer")
    page.goto("/runs")
    page.get_by_role("link", name="Stop everything").click()
    page.get_by_label("Reason").fill(REASON)
    look(page, camera, "stop-form")
    page.get_by_test_id("stop").click()
    try:
        expect(page.get_by_test_id("active-stop")).to_contain_text(REASON)
        look(page, camera, "stop-active")
        for path in ("/", "/runs", "/plans/new", "/help/", "/stops"):
            other.goto(path)
            expect(other.get_by_test_id("stop-banner")).to_contain_text(REASON)
        expect(other.get_by_test_id("stop-form")).to_have_count(0)
        other.goto("/runs")
        look(other, camera, "stop-banner")
    finally:
        page.get_by_label("Reason for lifting").fill("The service is back.")
        page.get_by_role("button", name="Lift stop").click()
    expect(page.get_by_test_id("no-stops")).to_be_visible()
    expect(page.get_by_test_id("past-stop")).to_contain_text("The service is back.")
    look(page, camera, "stop-lifted")
    other.goto("/")
    expect(other.get_by_test_id("stop-banner")).to_have_count(0)
