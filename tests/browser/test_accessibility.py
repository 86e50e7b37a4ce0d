"""No main page has a serious accessibility violation, in light or dark."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tests.browser.browsing import Browsing, Faults
from tests.browser.stack import Stack

ALL = {
    "resultTypes": ["violations"],
    "rules": {"target-size": {"enabled": True}},
}
COLORS = {"resultTypes": ["violations"], "runOnly": ["color-contrast"]}
SEVERE = {"serious", "critical"}
OPEN_ALL = "document.querySelectorAll('details').forEach((one) => (one.open = true))"


@pytest.fixture
def addresses(live: Stack) -> list[str]:
    """Return the main pages, with the run and the gate that the demo leaves open."""
    ((schedule,),) = live.rows("SELECT id::text FROM triggers_schedule LIMIT 1")
    ((hook,),) = live.rows("SELECT id::text FROM triggers_hook LIMIT 1")
    query = "SELECT id::text, gate_id::text FROM runs_run ORDER BY created_at LIMIT 1"
    ((run, gate),) = live.rows(query)
    return [
        *("/", "/runs", f"/runs/{run}", f"/runs/{run}?view=events", "/inbox"),
        *(f"/runs/{run}?view=graph", f"/runs/{run}?view=artifacts", "/artifacts"),
        *("/inbox?tab=decided", f"/gates/{gate}", "/plans/new?example=tag-release"),
        *("/plans", "/plans/publish-package-report", "/skills", "/skills/files"),
        *("/schedules", f"/schedules/{schedule}", "/schedules/new"),
        *("/webhooks", f"/webhooks/{hook}", "/events"),
        "/webhooks/new?plan=publish-package-report",
        *("/skills/files/edit", "/trace"),
        *("/trace/verify", "/help/", "/styleguide", "/nothing-here"),
    ]


def test_main_pages_have_no_serious_accessibility_violation(
    browse: Browsing, faults: Faults, addresses: list[str]
):
    faults.allow("404")
    severe = []
    for scheme, options in {"light": ALL, "dark": COLORS}.items():
        anonymous = browse(color_scheme=scheme)
        page = browse("admin", color_scheme=scheme)
        visits = [(anonymous, "/accounts/login/"), *((page, at) for at in addresses)]
        for visitor, address in visits:
            visitor.goto(address)
            visitor.evaluate(OPEN_ALL)
            severe += [(address, *found) for found in severe_in(visitor, options)]
        page.goto("/plans/new?example=tag-release")
        page.get_by_test_id("plan-check").click()
        expect(page.get_by_test_id("graph-node")).not_to_have_count(0)
        severe += [("preview of a graph", *found) for found in severe_in(page, options)]
        page.get_by_role("tab", name="Form").click()
        page.locator("#card-1").click()
        expect(page.locator(".form-card-body")).to_be_visible()
        page.evaluate(OPEN_ALL)
        severe += [("form view", *found) for found in severe_in(page, options)]

    assert severe == []


def severe_in(page: Page, options: dict) -> list[tuple[str, list[str]]]:
    return [
        (violation["id"], [node["html"][:160] for node in violation["nodes"]])
        for violation in Axe().run(page, options=options).response["violations"]
        if violation["impact"] in SEVERE
    ]
