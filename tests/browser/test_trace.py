"""One changed byte of the record is seen, and its event is named."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests import builders
from tests.browser import pages
from tests.browser.browsing import Browsing
from tests.browser.stack import Stack

BROKEN = 4


@pytest.fixture
def finished(browse: Browsing) -> str:
    """Return a run that has succeeded."""
    operator = browse("operator")
    run = pages.start(browse("proposer"), operator, builders.chain(2))
    pages.expect_state(operator, "succeeded")
    return run


@pytest.fixture
def tampered(finished: str, live: Stack) -> Iterator[str]:
    """Change one byte of an event of the run."""
    live.flip_a_bit(finished, BROKEN)
    yield finished
    live.flip_a_bit(finished, BROKEN)


def test_the_first_changed_event_is_named_on_every_page_that_verifies(
    browse: Browsing, tampered: str
):
    page = browse("auditor")

    page.goto(f"/runs/{tampered}")
    badge = page.get_by_test_id("run-verified")
    expect(badge).to_contain_text(f"Trace altered at #{BROKEN}")

    badge.get_by_role("link").click()
    verification = page.get_by_test_id("verification")
    verification.get_by_role("link", name="Verify now").click()
    broken = page.get_by_test_id("verification-broken")
    expect(broken).to_have_attribute("data-seq", str(BROKEN))
    expect(broken).to_contain_text("expected")
    broken.get_by_role("link", name="Show the event").click()
    page.wait_for_url(f"**/trace/run:{tampered}/{BROKEN}")

    page.goto("/trace")
    page.get_by_role("link", name="Verify everything").click()
    page.get_by_role("button", name="Verify everything").click()
    found = page.get_by_test_id("verification-finding")
    expect(found).to_have_count(1)
    expect(found).to_contain_text(f"Broken at event {BROKEN} of run:{tampered}")
    expect(page.get_by_test_id("verification-job")).to_have_attribute(
        "data-state", "finished"
    )


def test_an_untouched_record_is_verified_in_full(
    browse: Browsing, finished: str, live: Stack
):
    page = browse("auditor")

    page.goto(f"/trace?stream=run:{finished}")
    page.get_by_role("link", name="Verify now").click()

    count = len(live.events(finished))
    expect(page.get_by_test_id("verification-whole")).to_contain_text(
        f"Verified {count} of {count}"
    )
    expect(page.get_by_test_id("trace-row")).to_have_count(count)
