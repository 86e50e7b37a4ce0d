"""No main page has a serious accessibility violation, in light or dark."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.browser.browsing import Browsing, Faults
from tests.browser.stack import Stack

OPTIONS = {
    "resultTypes": ["violations"],
    "rules": {"target-size": {"enabled": True}},
}
SEVERE = {"serious", "critical"}


@pytest.fixture
def addresses(live: Stack) -> list[str]:
    """The main pages, with the run and the gate that the demo leaves open."""
    query = "SELECT id::text, gate_id::text FROM runs_run ORDER BY created_at LIMIT 1"
    ((run, gate),) = live.rows(query)
    return [
        *("/", "/runs", f"/runs/{run}", f"/runs/{run}?view=events", "/inbox"),
        *("/inbox?tab=decided", f"/gates/{gate}", "/plans/new?example=tag-release"),
        *("/skills", "/skills/files", "/skills/files/edit", "/trace"),
        *("/trace/verify", "/help/", "/styleguide", "/nothing-here"),
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_main_pages_have_no_serious_accessibility_violation(
    browse: Browsing, faults: Faults, addresses: list[str], scheme: str
):
    faults.allow("404")
    anonymous, page = browse(color_scheme=scheme), browse("admin", color_scheme=scheme)
    axe, violations = Axe(), []
    visits = [(anonymous, "/accounts/login/"), *((page, at) for at in addresses)]

    for visitor, address in visits:
        visitor.goto(address)
        visitor.evaluate(
            "document.querySelectorAll('details').forEach((one) => (one.open = true))"
        )
        for violation in axe.run(visitor, options=OPTIONS).response["violations"]:
            nodes = [node["html"][:160] for node in violation["nodes"]]
            violations.append((violation["impact"], violation["id"], address, nodes))

    severe = [violation for violation in violations if violation[0] in SEVERE]
    assert severe == []
