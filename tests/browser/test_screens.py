"""Every screen in pictures, and the ones for a telephone fit on it."""

import json
import re

import pytest
from playwright.sync_api import expect

from orchestration.plans.examples import FOLDER as EXAMPLES
from tests import builders
from tests.browser import pages
from tests.browser.browsing import NARROW, Browsing, Camera
from tests.browser.stack import Stack

LOOKS = [
    pytest.param({"color_scheme": "dark"}, "dark", id="dark"),
    pytest.param({"size": NARROW, "has_touch": True}, "narrow", id="narrow"),
    pytest.param(
        {"size": NARROW, "color_scheme": "dark"}, "narrow-dark", id="narrow and dark"
    ),
]


@pytest.fixture
def waiting(live: Stack) -> str:
    """Return the run that the demo leaves at its gate."""
    query = "SELECT id::text FROM runs_run ORDER BY created_at LIMIT 1"
    ((run,),) = live.rows(query)
    return str(run)


def test_screens_of_the_proposer(browse: Browsing, camera: Camera):
    page = browse()
    page.goto("/accounts/login/")
    camera.take(page, "login")

    pages.sign_in(page, "proposer")
    camera.take(page, "home-proposer")
    page.goto("/plans/new?example=publish-package-report")
    page.get_by_test_id("plan-check").click()
    page.get_by_label("Smallest package in bytes").fill("250000")
    page.get_by_test_id("plan-check").click()
    expect(page.get_by_test_id("plan-valid")).to_be_visible()
    camera.take(page, "propose", readme="propose")
    page.get_by_test_id("plan-dry-run").click()
    report = page.get_by_test_id("dry-run-report")
    expect(report).to_be_visible()
    camera.take(page, "dry-run")


def test_screens_of_the_operator(browse: Browsing, camera: Camera, waiting: str):
    page = browse("operator")
    example = EXAMPLES / "tag-release.yaml"
    inputs = {"version": "2.0.0"}
    pages.start(browse("proposer"), page, example.read_text(), inputs)
    expect(page.get_by_test_id("gate-link-tag")).to_have_text("View approval")
    page.goto("/")
    camera.take(page, "home")
    page.goto("/inbox")
    expect(page.get_by_test_id("inbox-row").first).to_be_visible()
    camera.take(page, "inbox", readme="inbox")
    pages.open_from_inbox(page, waiting)
    camera.take(page, "gate-plan", readme="gate")
    page.goto(f"/runs/{waiting}")
    pages.expect_live(page)
    camera.take(page, "run-waiting")
    page.goto("/runs")
    camera.take(page, "runs")


def test_screens_of_the_admin(browse: Browsing, camera: Camera):
    page = browse("admin")
    page.goto("/skills")
    camera.take(page, "skills")
    page.goto("/skills/http")
    camera.take(page, "skill")
    page.get_by_role("link", name="New version").click()
    camera.take(page, "skill-edit")
    page.get_by_label("Description").first.fill("Calls addresses that are allowed.")
    page.get_by_role("button", name="Save and review").click()
    expect(page.get_by_test_id("skill-diff")).to_be_visible()
    camera.take(page, "skill-review")


def test_screens_of_a_run_at_work_and_ended(browse: Browsing, camera: Camera):
    page = browse("operator")
    plan = json.loads(builders.chain(5, "witness-again"))
    for step in plan["plan"]["steps"]:
        step["params"] = {"mark": step["id"], "after": 1}
    run = pages.start(browse("proposer"), page, json.dumps(plan))
    expect(page.get_by_test_id("run-progress")).to_have_text(re.compile("^[1-4] of 5"))
    camera.take(page, "run-live")
    pages.expect_state(page, "succeeded")
    expect(page.get_by_test_id("run-verified")).to_contain_text("Trace verified")
    page.get_by_role("button", name="Expand or collapse all").click()
    expect(page.locator("#steps [data-lazy]")).to_have_count(0)
    camera.take(page, "run-ended")
    page.goto(f"/runs/{run}?view=events")
    camera.take(page, "run-events")


@pytest.mark.parametrize(("options", "look"), LOOKS)
def test_inbox_gate_and_run_are_whole_in_every_look(
    browse: Browsing, camera: Camera, waiting: str, options: dict, look: str
):
    page = browse("operator", **options)

    page.goto("/inbox")
    expect(page.get_by_test_id("inbox-row").first).to_be_visible()
    assert pages.overflow(page) == []
    camera.take(page, f"inbox-{look}")
    pages.open_from_inbox(page, waiting)
    assert pages.overflow(page) == []
    camera.take(page, f"gate-{look}")
    page.get_by_role("link", name="Go to decision").click()
    expect(page.get_by_role("button", name="Approve", exact=True)).to_be_in_viewport()
    camera.take(page, f"decision-{look}", whole=False)
    page.goto(f"/runs/{waiting}")
    pages.expect_live(page)
    page.get_by_role("button", name="Expand or collapse all").click()
    expect(page.locator("#steps [data-lazy]")).to_have_count(0)
    assert pages.overflow(page) == []
    camera.take(page, f"run-{look}")


@pytest.mark.parametrize(
    ("role", "address"),
    [
        ("operator", "/"),
        ("operator", "/runs"),
        ("proposer", "/plans/new?example=tag-release"),
        ("auditor", "/trace"),
        ("admin", "/skills"),
        ("admin", "/skills/files"),
        ("admin", "/skills/files/edit"),
    ],
)
def test_no_page_is_wider_than_a_telephone(
    browse: Browsing, camera: Camera, role: str, address: str
):
    page = browse(role, size=NARROW)

    page.goto(address)

    assert pages.overflow(page) == []
    name = re.sub(r"\W+", "-", address).strip("-") or "home"
    camera.take(page, f"narrow-{name}")
