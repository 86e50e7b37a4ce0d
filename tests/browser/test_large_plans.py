"""Large plans make small pages, on which every byte can still be read."""

import hashlib
from pathlib import Path

import pytest
from playwright.sync_api import Page, Response, expect

from tests import builders
from tests.browser import pages
from tests.browser.browsing import Browsing

MOST_BYTES = 300_000
ROWS = [{"id": n, "name": f"row {n}", "ok": True} for n in range(20_000)]
"""0.9 MB with what is around it."""


def large() -> str:
    return builders.plan(builders.step("large", params={"rows": ROWS}))


def many() -> str:
    steps = [builders.step(f"s{n}", params={"n": n}) for n in range(300)]
    return builders.plan(*steps)


def size_of(answer: Response | None) -> int:
    assert answer is not None
    taken = answer.request.timing["responseStart"]
    size = len(answer.body())
    print(f"{answer.url}: {size} bytes after {taken:.0f} ms")
    return size


def gate_of(page: Page, run: str) -> str:
    page.goto("/inbox")
    href = pages.inbox_row(page, run).get_by_role("link").get_attribute("href")
    assert href
    return href


@pytest.mark.parametrize("text", [large, many])
def test_gate_and_run_are_small_and_the_approver_gets_every_byte(
    text, browse: Browsing
):
    run = pages.propose(browse("proposer"), text())
    page = browse("operator")
    gate = gate_of(page, run)

    assert size_of(page.goto(gate)) < MOST_BYTES
    expect(page.get_by_test_id("gate-collapsed")).to_be_visible()
    digest = page.get_by_test_id("gate-digest").inner_text().strip()
    with page.expect_download() as started:
        page.get_by_role("link", name="Download the content").first.click()
    body = Path(started.value.path()).read_bytes()
    assert hashlib.sha256(b"execfabric/run/v1\n" + body).hexdigest() == digest
    assert size_of(page.goto(f"/runs/{run}")) < MOST_BYTES


def test_each_step_of_a_long_plan_is_reached_and_opened_by_keyboard(
    browse: Browsing,
):
    run = pages.propose(browse("proposer"), many())
    page = browse("operator")
    for address, part in (
        (gate_of(page, run), "gate-steps"),
        (f"/runs/{run}", "steps"),
    ):
        page.goto(address)
        listed = page.locator(f"[data-testid={part}] > li, #{part} > ol > li")
        page.get_by_role("link", name="Show 100 more").press("Enter")
        expect(listed).to_have_count(300)

        last = listed.last
        last.locator("summary").press("Enter")

        expect(last.locator(".json").first).to_contain_text("299")
