"""A list of items on the run page: counts and items change while someone watches."""

import json

from playwright.sync_api import Page, expect

from tests.browser import pages
from tests.browser.browsing import WIDE, Browsing, look_at

ITEMS = [f"service-{n}" for n in range(6)]
SEEN = """() => {
  const read = () => document.querySelector("#graph [data-testid=graph-items]")?.textContent;
  window.counts = [read()];
  new MutationObserver(() => window.counts.at(-1) !== read() && window.counts.push(read()))
    .observe(document.getElementById("graph"), { childList: true, subtree: true });
}"""


def _plan() -> str:
    action = {"skill": "lab", "action": "witness-again"}
    steps = [
        {"id": "begin", **action, "params": {"mark": "begin", "after": 0}},
        {
            "id": "each",
            "name": "Roll out each service",
            **action,
            "forEach": ITEMS,
            "as": "service",
            "dependsOn": ["begin"],
            "params": {"mark": "$service", "after": 3},
        },
        {
            "id": "sure",
            "kind": "approval",
            "dependsOn": ["each"],
            "approval": {"reason": "Look at the services"},
        },
    ]
    return json.dumps(
        {
            "plan": {
                "id": "roll-out",
                "name": "Roll out",
                "parallel": {"max": 2},
                "steps": steps,
            }
        }
    )


def test_a_fan_out_is_watched_on_the_graph_and_in_its_list(browse: Browsing) -> None:
    page = browse("operator")
    run = pages.start(browse("proposer"), page, _plan())
    steps = page.context.new_page()
    _watch(page, f"/runs/{run}?view=graph")
    page.evaluate(SEEN)
    _watch(steps, f"/runs/{run}")
    steps.get_by_test_id("step-each").locator("summary").click()
    expect(steps.get_by_test_id("items-each")).to_be_visible()

    state = page.locator("#graph [data-step=each] .graph-state")
    expect(state).to_contain_text("of 6")
    running = steps.locator("[data-testid^=item-][data-state=running]")
    expect(running.first).to_be_visible()
    look_at(page, "fan-out-graph")
    look_at(steps, "fan-out-steps")
    for one in (page, steps):
        one.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})

    expect(state).to_have_attribute("data-state", "succeeded")
    expect(state).to_contain_text("6 of 6")
    done = steps.locator("[data-testid^=item-][data-state=succeeded]")
    expect(done).to_have_count(len(ITEMS))
    expect(steps.get_by_test_id("items-count")).to_contain_text("6 of 6 items")
    counts = [int(text.split()[0]) for text in page.evaluate("window.counts") if text]
    assert counts == sorted(counts)
    assert len(set(counts)) > 2, counts  # seen on the way, not only at the end
    assert pages.is_unbroken(page)
    assert pages.is_unbroken(steps)


def _watch(page: Page, address: str) -> None:
    page.goto(address)
    pages.expect_live(page)
    pages.keep_unbroken(page)
