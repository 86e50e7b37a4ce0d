"""What people do on the console's pages, in their words."""

import json
import re
from collections.abc import Mapping
from typing import Any

from playwright.sync_api import Locator, Page, expect

RUN_ADDRESS = re.compile(r"/runs/([0-9a-f-]{36})$")

TEXTS = """(root) => {
  const copy = root.cloneNode(true);
  copy.querySelectorAll("time[data-relative]").forEach((one) => one.remove());
  return copy.textContent.replace(/\\s+/g, " ").trim();
}"""
"""The text of a part of the page, without what depends on the moment of looking."""

TOO_WIDE = """() => {
  const root = document.documentElement;
  if (root.scrollWidth <= root.clientWidth) return [];
  return [...document.querySelectorAll("body *")]
    .filter((one) => one.getBoundingClientRect().right > root.clientWidth + 1)
    .map((one) => one.cloneNode(false).outerHTML.slice(0, 100))
    .concat(root.scrollWidth + " px");
}"""

REMEMBER_PILL = """() => {
  const pill = document.getElementById("live-pill");
  window.seenPill = [pill.dataset.live];
  new MutationObserver(() => window.seenPill.push(pill.dataset.live))
    .observe(pill, { attributes: true, attributeFilter: ["data-live"] });
}"""


def sign_in(page: Page, role: str) -> None:
    """Sign in as one of the demo's people, at one click."""
    page.goto("/accounts/login/")
    page.get_by_test_id(f"demo-{role}").click()
    expect(page.get_by_test_id("me")).to_contain_text(f"demo-{role}")


def sign_out(page: Page) -> None:
    """Leave; the sign-in page follows."""
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()


def run_id(page: Page) -> str:
    """Wait for the page of a run and return its id."""
    page.wait_for_url(RUN_ADDRESS)
    found = RUN_ADDRESS.search(page.url)
    assert found
    return found[1]


def plan_field(page: Page) -> Locator:
    """Return the editor of the plan, or the plain field without scripts."""
    return page.get_by_role("textbox", name="Plan, in YAML or JSON")


def plan_text(page: Page) -> str:
    """Return the text that the form sends."""
    return page.locator("[data-plan-text]").input_value()


def fill_plan(page: Page, text: str) -> None:
    """Put a text into the field at once, as a restored draft or a chosen file is."""
    page.locator("[data-plan-text]").evaluate(
        "(field, text) => { field.value = text;"
        " field.dispatchEvent(new Event('input', { bubbles: true })); }",
        text,
    )


def write_plan(page: Page, text: str) -> None:
    """Put a text into the plan page."""
    page.goto("/plans/new")
    fill_plan(page, text)


def problems(page: Page) -> list[tuple[str | None, str]]:
    """Code and words of each problem shown."""
    rows = page.get_by_test_id("plan-problem").all()
    return [(row.get_attribute("data-code"), row.inner_text()) for row in rows]


def propose(page: Page, text: str, inputs: Mapping[str, Any] | None = None) -> str:
    """Propose a text as it is; the run's id."""
    write_plan(page, text)
    for key, value in (inputs or {}).items():
        fill_input(page, key, value)
    page.get_by_test_id("plan-propose").click()
    return run_id(page)


def fill_input(page: Page, key: str, value: Any) -> None:
    """Fill in the field of an input, which follows the text of the plan."""
    field = page.locator(f'[name="input.{key}"]')
    text = value if isinstance(value, str) else json.dumps(value)
    if field.evaluate("(field) => field.tagName") == "SELECT":
        field.select_option(text)
    else:
        field.fill(text)


def inbox_row(page: Page, run: str) -> Locator:
    """Return the inbox row of this run."""
    rows = page.get_by_test_id("inbox-row")
    return rows.filter(has=page.locator(f'code:text-is("{run[:13]}")'))


def open_from_inbox(page: Page, run: str) -> None:
    """Go to the gate that waits for a decision on this run."""
    page.goto("/inbox")
    inbox_row(page, run).get_by_role("link").click()
    expect(page.get_by_test_id("decision-form")).to_be_visible()


def await_dry_run(page: Page) -> None:
    """Wait until the dry run that the page shows, if any, has ended."""
    pending = page.locator('[data-testid="dry-run"]:not([data-ended])')
    expect(pending).to_have_count(0)


def approve(page: Page) -> None:
    """Approve what the gate page shows; the run's page follows."""
    await_dry_run(page)
    page.get_by_role("button", name="Approve", exact=True).click()
    page.wait_for_url(RUN_ADDRESS)


def start(
    proposer: Page, operator: Page, text: str, inputs: Mapping[str, Any] | None = None
) -> str:
    """Propose as the one and approve as the other; the operator sees the run."""
    run = propose(proposer, text, inputs)
    open_from_inbox(operator, run)
    approve(operator)
    return run


def expect_state(page: Page, state: str) -> None:
    """Wait until the run is shown in this state."""
    expect(page.get_by_test_id("run-state")).to_have_attribute("data-state", state)


def expect_live(page: Page) -> None:
    """Wait until the page's socket is open."""
    expect(page.get_by_test_id("live-pill")).to_have_text("Live")


def text_of(page: Page, selector: str) -> str:
    """Return the text of a part of the page, collapsed or not."""
    return str(page.locator(selector).evaluate(TEXTS))


def event_ids(page: Page) -> list[str]:
    """Return the ids of the event rows."""
    return [str(row.get_attribute("id")) for row in page.get_by_test_id("event").all()]


def overflow(page: Page) -> list[str]:
    """Return what makes the page wider than the window; empty once it fits.

    A page that has just changed its size, or grown a scrollbar, is laid out a moment
    later.
    """
    for _ in range(20):
        found: list[str] = page.evaluate(TOO_WIDE)
        if not found:
            break
        page.wait_for_timeout(100)
    return found


def keep_unbroken(page: Page) -> None:
    """Mark the page: the mark is gone after any reload."""
    page.evaluate("window.unbroken = true")


def is_unbroken(page: Page) -> bool:
    """Return True if the page was not reloaded since it was marked."""
    return bool(page.evaluate("window.unbroken === true"))
