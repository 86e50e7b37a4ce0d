"""On a telephone the decision stays at hand, and a line of the record is readable."""

from playwright.sync_api import Locator, expect

from tests import builders
from tests.browser import pages
from tests.browser.browsing import NARROW, Browsing


def _box(part: Locator) -> dict[str, float]:
    found = part.bounding_box()
    assert found
    return dict(found)


def test_the_decision_is_at_hand_wherever_the_page_stands(browse: Browsing):
    run = pages.propose(browse("proposer"), builders.chain(6))
    page = browse("operator", size=NARROW, has_touch=True)
    pages.open_from_inbox(page, run)
    approve = page.get_by_role("button", name="Approve", exact=True)
    height = page.evaluate("document.documentElement.scrollHeight")
    assert height > 3 * NARROW[1]

    for place in (0, height // 2, height):
        page.evaluate("(place) => scrollTo(0, place)", place)
        expect(approve).to_be_in_viewport(ratio=1)
        bar, places = _box(page.locator(".sticky-bar")), _box(page.locator("#nav"))
        assert bar["y"] + bar["height"] <= places["y"] + 1

    comment = _box(page.locator("#comment-hint"))
    assert comment["y"] + comment["height"] <= bar["y"]
    page.get_by_label("Comment").fill("As agreed.")
    pages.approve(page)
    pages.expect_state(page, "succeeded")


def test_an_event_has_its_sentence_over_the_whole_width(browse: Browsing):
    page = browse("auditor", size=NARROW)
    page.goto("/trace")
    row = page.get_by_test_id("trace-row").first

    card, sentence = _box(row), _box(row.locator("p").first)
    when, text = _box(row.locator("time")), _box(row.locator(".log-actor"))

    assert card["y"] < 400
    assert sentence["width"] > 0.75 * card["width"]
    assert text["y"] < when["y"]
    assert when["height"] < 2 * text["height"]
