"""No main page has a serious accessibility violation, in light or dark."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

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
    query = "SELECT id::text, gate_id::text FROM runs_run ORDER BY created_at LIMIT 1"
    ((run, gate),) = live.rows(query)
    return [
        *("/", "/runs", f"/runs/{run}", f"/runs/{run}?view=events", "/inbox"),
        *("/inbox?tab=decided", f"/gates/{gate}", "/plans/new?example=tag-release"),
        *("/skills", "/skills/files", "/skills/files/edit", "/trace"),
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
            severe += [(address, *found) for found in _severe(visitor, options)]

    assert severe == []


def _severe(page: Page, options: dict) -> list[tuple[str, list[str]]]:
    return [
        (violation["id"], [node["html"][:160] for node in violation["nodes"]])
        for violation in Axe().run(page, options=options).response["violations"]
        if violation["impact"] in SEVERE
    ]
