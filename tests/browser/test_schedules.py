"""A schedule in the browser: its next five firings appear while it is typed."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser import pages
from tests.browser.browsing import NARROW, WIDE, Browsing, Camera, Faults

AXE = {"resultTypes": ["violations"]}
SEVERE = {"serious", "critical"}


def severe(page: Page) -> list[str]:
    found = Axe().run(page, options=AXE).response["violations"]
    return [one["id"] for one in found if one["impact"] in SEVERE]


def look(page: Page, camera: Camera, name: str) -> None:
    """Take pictures, wide and narrow, light and dark; check that the page fits."""
    for scheme in ("dark", "light"):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        for label, size in {"narrow": NARROW, "wide": WIDE}.items():
            page.set_viewport_size({"width": size[0], "height": size[1]})
            camera.take(page, f"{name}-{scheme}-{label}")
            assert page.evaluate(pages.TOO_WIDE) == []
        assert severe(page) == []


def test_a_schedule_is_created_with_a_preview_of_its_firings(
    browse: Browsing, faults: Faults, camera: Camera
) -> None:
    faults.allow("422")
    page = browse("proposer")
    page.goto("/plans/publish-package-report")
    page.get_by_test_id("plan-schedules").click()
    page.get_by_role("link", name="New schedule").click()
    expect(page.get_by_label("Time zone")).to_have_value("UTC")

    page.get_by_label("Name").fill("Package report")
    page.get_by_label("Cron expression").press_sequentially("30 6 * * MON-FR")
    expect(page.get_by_test_id("next-firings")).to_contain_text("is not valid")
    page.get_by_label("Cron expression").press_sequentially("I")
    page.get_by_label("Time zone").fill("Europe/Berlin")
    expect(page.get_by_test_id("next-firing")).to_have_count(5)
    expect(page.get_by_test_id("next-firings")).to_contain_text("06:30 CE")
    expect(page.get_by_test_id("next-firings")).to_contain_text("Europe/Berlin")
    page.get_by_label("Smallest package").fill("100000")
    look(page, camera, "schedule-form")

    page.get_by_test_id("schedule-save").click()
    expect(page.get_by_test_id("message")).to_contain_text("was saved")
    expect(page.get_by_test_id("next-firing")).to_have_count(5)
    look(page, camera, "schedule")
    page.get_by_test_id("schedule-pause").click()
    expect(page.get_by_test_id("schedule-resume")).to_be_visible()
