"""What a page shows while a run goes on is what a reload would show."""

import json
from collections.abc import Callable

from playwright.sync_api import Page, expect

from tests import builders
from tests.browser import pages
from tests.browser.browsing import Browsing, Faults
from tests.browser.stack import Stack

CONNECTION_LOST = (
    r"ERR_|WebSocket connection to|\(\S+/htmx-2\.min\.js\)|^script: undefined$"
)
"""What a browser, and htmx in it, says while nobody answers: its promises are
rejected without a reason."""

STEPS = 12


def _slow_chain(seconds: float) -> str:
    """Twelve steps that take a while each."""
    plan = json.loads(builders.chain(STEPS, "witness-again"))
    for step in plan["plan"]["steps"]:
        step["params"] = {"mark": step["id"], "after": seconds}
    return json.dumps(plan)


def test_a_killed_web_server_leaves_no_gap_and_no_double_in_a_watched_run(
    browse: Browsing, live: Stack, faults: Faults
):
    faults.allow(CONNECTION_LOST)
    steps, events = _watched(browse, live, seconds=1)

    expect(events.locator("[data-kind='step.succeeded']")).not_to_have_count(0)
    live.kill_web()
    for page in (steps, events):
        lost = page.locator(
            "#live-pill[data-live=reconnecting], #live-pill[data-live=offline]"
        )
        expect(lost).to_be_visible()
    live.start_web()

    for page in (steps, events):
        pages.expect_live(page)
        seen = page.evaluate("window.seenPill")
        assert {"reconnecting", "offline"} & set(seen), seen
    _same_as_reloaded(steps, events, live)


def test_an_emptied_broker_costs_time_but_no_row(browse: Browsing, live: Stack):
    steps, events = _watched(browse, live, seconds=0.3)

    expect(events.locator("[data-kind='step.succeeded']")).not_to_have_count(0)
    live.wipe_broker()

    _same_as_reloaded(steps, events, live)


def test_a_decision_in_one_tab_shows_in_the_others_and_voids_their_forms(
    browse: Browsing, faults: Faults
):
    faults.allow("status of 409|ERR_FAILED|/htmx-2")
    run = pages.propose(browse("proposer"), builders.chain(1))
    deciding = browse("operator")
    others: Callable[[], Page] = deciding.context.new_page
    inbox, watching, reading, stale = others(), others(), others(), others()
    stale.route("**/gates/*?seen=*", lambda route: route.abort())
    inbox.goto("/inbox")
    watching.goto(f"/runs/{run}")
    pages.expect_live(watching)
    expect(pages.inbox_row(inbox, run)).to_be_visible()
    for tab in (reading, stale, deciding):
        pages.open_from_inbox(tab, run)
    for tab in (inbox, watching, reading):
        pages.keep_unbroken(tab)

    pages.approve(deciding)

    expect(pages.inbox_row(inbox, run)).to_have_count(0)
    pages.expect_state(watching, "succeeded")
    assert pages.is_unbroken(inbox)
    assert pages.is_unbroken(watching)
    expect(reading.get_by_test_id("gate-settled")).to_be_visible()
    expect(reading.get_by_test_id("decision-form")).to_have_count(0)
    assert pages.is_unbroken(reading)
    stale.get_by_label("Comment").fill("On second thoughts, no.")
    stale.get_by_role("button", name="Reject").click()
    refusal = stale.get_by_test_id("refusal")
    expect(refusal).to_have_attribute("data-code", "approval.already_decided")
    expect(stale.get_by_test_id("decision-form")).to_have_count(0)


def _watched(browse: Browsing, live: Stack, *, seconds: float) -> tuple[Page, Page]:
    """Open a running run in two tabs: its steps and its events."""
    steps = browse("operator")
    run = pages.start(browse("proposer"), steps, _slow_chain(seconds))
    events = steps.context.new_page()
    events.goto(f"/runs/{run}?view=events")
    for page in (steps, events):
        pages.expect_live(page)
        pages.keep_unbroken(page)
        page.evaluate(pages.REMEMBER_PILL)
    return steps, events


def _same_as_reloaded(steps: Page, events: Page, live: Stack) -> None:
    """Wait for the end of the run, and compare with the record and a new page."""
    run = pages.run_id(steps)
    pages.expect_state(steps, "succeeded")
    wanted = [f"ev-{seq}" for seq in live.events(run)]
    expect(events.locator(f"#{wanted[-1]}")).to_be_visible()
    assert pages.event_ids(events) == wanted

    for page, part in ((steps, "#steps"), (events, "#events")):
        assert pages.is_unbroken(page)
        for selector in (part, "#run-numbers", "#run-waits", "#run-state"):
            expect_same = page.context.new_page()
            expect_same.goto(page.url)
            shown = pages.text_of(page, selector)
            assert shown == pages.text_of(expect_same, selector)
            expect_same.close()
