"""The graph of a run: what it shows while the run goes on is what a reload would show."""

import json

from playwright.sync_api import Page, expect

from tests.browser import pages
from tests.browser.browsing import NARROW, Browsing, Camera, Faults
from tests.browser.stack import Stack
from tests.browser.test_live import CONNECTION_LOST

STATES = """() => [...document.querySelectorAll("#graph .graph-state")]
  .map((one) => [one.id, one.dataset.state, one.textContent.trim()])"""
OVERLAPS = """() => {
  const boxes = [...document.querySelectorAll(".graph-node")]
    .map((one) => [one.dataset.step, one.getBoundingClientRect()]);
  return boxes.flatMap(([name, a], at) => boxes.slice(at + 1)
    .filter(([, b]) => a.left < b.right && b.left < a.right
      && a.top < b.bottom && b.top < a.bottom)
    .map(([other]) => [name, other]));
}"""
OUTSIDE = """() => [...document.querySelectorAll(".graph-node")].flatMap((node) =>
  [...node.children].filter((line) => line.scrollWidth > line.clientWidth + 1
    && getComputedStyle(line).overflow === "visible")
    .map((line) => node.dataset.step + ": " + line.textContent))"""


def _fan(seconds: float) -> str:
    """Return a plan of one step, six side by side, a step with a gate, and a tail."""

    def step(key: str, *after: str, **fields):
        params = {"mark": key, "after": seconds}
        made = {"id": key, "skill": "lab", "action": "witness-again", "params": params}
        return made | {"dependsOn": list(after)} | fields

    middle = [f"part-{n}" for n in range(6)]
    steps = [
        step("begin", name="Begin"),
        *(step(key, "begin") for key in middle),
        step("join", *middle, "begin", approval={"reason": "Look at the parts"}),
        step("end", "join", triggerRule="all_done"),
    ]
    plan = {"id": "fan", "name": "Fan", "parallel": True, "steps": steps}
    return json.dumps({"plan": plan})


def _watched(browse: Browsing, seconds: float) -> tuple[Page, str]:
    page = browse("operator")
    run = pages.start(browse("proposer"), page, _fan(seconds))
    page.goto(f"/runs/{run}?view=graph")
    pages.expect_live(page)
    pages.keep_unbroken(page)
    page.evaluate("window.drawing = document.querySelector('.graph')")
    return page, run


def _same_as_reloaded(page: Page) -> None:
    assert pages.is_unbroken(page)
    assert page.evaluate("window.drawing === document.querySelector('.graph')")
    reloaded = page.context.new_page()
    reloaded.goto(page.url)
    assert page.evaluate(STATES) == reloaded.evaluate(STATES)
    reloaded.close()


def test_the_graph_follows_a_run_by_frames_alone(browse: Browsing, camera: Camera):
    page, run = _watched(browse, seconds=1.5)
    state = page.locator("#graph [data-step='join'] .graph-state")

    running = page.locator("#graph .graph-node [data-state=running]").first
    expect(running).to_contain_text("Running")
    expect(state).to_have_attribute("data-state", "gated")
    expect(state).to_contain_text("Waiting for approval")
    assert page.evaluate(OUTSIDE) == []
    _same_as_reloaded(page)
    camera.take(page, "graph-gated")

    deciding = page.context.new_page()
    pages.open_from_inbox(deciding, run)
    pages.approve(deciding)

    pages.expect_state(page, "succeeded")
    done = page.locator("#graph .graph-node .graph-state[data-state=succeeded]")
    expect(done).to_have_count(9)
    _same_as_reloaded(page)


def test_a_killed_web_server_leaves_no_wrong_state_in_the_graph(
    browse: Browsing, live: Stack, faults: Faults
):
    faults.allow(CONNECTION_LOST)
    page, _ = _watched(browse, seconds=2)

    live.kill_web()
    lost = page.locator(
        "#live-pill[data-live=reconnecting], #live-pill[data-live=offline]"
    )
    expect(lost).to_be_visible()
    live.start_web()
    pages.expect_live(page)

    state = page.locator("#graph [data-step='join'] .graph-state")
    expect(state).to_have_attribute("data-state", "gated")
    _same_as_reloaded(page)


def test_the_graph_is_reached_by_keyboard_and_fits_a_narrow_window(browse: Browsing):
    page = browse("proposer", size=NARROW)
    pages.write_plan(page, _fan(0))
    page.get_by_test_id("plan-check").click()
    box = page.get_by_test_id("graph-node")
    expect(box).to_have_count(9)
    page.wait_for_load_state()

    assert pages.overflow(page) == []
    assert page.evaluate(OVERLAPS) == []
    assert page.evaluate(OUTSIDE) == []
    page.locator(".graph-scroll").focus()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.dataset.step") == "begin"
    page.keyboard.press("Enter")
    expect(page.get_by_role("textbox", name="Plan, in YAML or JSON")).to_be_focused()
    page.get_by_text("Graph as text").click()
    expect(page.get_by_test_id("graph-lines")).to_contain_text("starts after all")
