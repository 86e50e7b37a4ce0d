"""The plan editor: problems in place while someone types, and completion by keyboard."""

from playwright.sync_api import Page, expect

from tests.browser import pages
from tests.browser.browsing import WIDE, Browsing, look_at

EDITOR_WAIT = 200
"""Milliseconds: the editor ignores Enter right after its list has opened."""
LINES = [
    "id: collect-lists",
    "steps:",
    "- id: collect",
    "skill: files",
    "action: collect",
    "params: {pattern: 'packages-*.csv'}",
]
ASKING = """\
id: asks
blueprint:
  type: object
  properties:
    auth: {type: string}
inputs: {type: object, properties: {env: {type: string}}}
steps:
- id: ask
  kind: input
  form:
    type: object
    properties:
      colour: {type: string}
  ask: {reason: Choose a colour.}
- id: use
  skill: noop
  action: pass
  dependsOn: [ask]
  params: {value: """


def _typed(page: Page, text: str) -> None:
    page.keyboard.type(text)
    page.keyboard.press("Escape")


def _press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def _look(page: Page, name: str) -> None:
    look_at(page, name)
    page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})


def test_a_plan_is_written_and_corrected_with_the_keyboard_alone(browse: Browsing):
    page = browse("proposer")
    page.goto("/plans/new")
    pages.plan_field(page).focus()
    for line in LINES:
        _typed(page, line)
        page.keyboard.press("Enter")
    _press(page, "Shift+Home", "Backspace")
    _typed(page, "- id: report\n")
    page.keyboard.type("skill: rep")
    expect(page.get_by_role("option", name="report")).to_be_visible()
    page.wait_for_timeout(EDITOR_WAIT)
    _press(page, "Enter", "Enter")
    _typed(page, "action: render\ndependsOn: [collect]\n")
    page.keyboard.type("params: {title: Lists, rows: $colect.files.collected")
    page.keyboard.press("Escape")
    marked = page.locator(".cm-lintRange-error")
    expect(marked.first).to_have_text("$colect.files.collected")
    _look(page, "editor-wrong-reference")
    pages.plan_field(page).focus()
    _press(page, *["Backspace"] * len("$colect.files.collected"))
    page.keyboard.type("$col")
    expect(page.get_by_role("option", name="$collect.files.collected")).to_be_visible()
    page.keyboard.type("lect.f")
    page.wait_for_timeout(EDITOR_WAIT)
    page.keyboard.press("Enter")

    expect(marked).to_have_count(0)
    assert "rows: $collect.files.collected}" in pages.plan_text(page)
    page.keyboard.press("Tab")
    expect(pages.plan_field(page)).not_to_be_focused()
    _check_it(page)
    _publish_dry_run_and_propose(page)


def _check_it(page: Page) -> None:
    page.get_by_test_id("plan-check").press("Enter")
    expect(page.get_by_test_id("plan-valid")).to_be_visible()
    assert "skill: report" in pages.plan_text(page)


def _publish_dry_run_and_propose(page: Page) -> None:
    """Add a step with an effect, look at gates and undo, try the plan, and submit it."""
    pages.plan_field(page).focus()
    page.keyboard.press("Control+End")
    _typed(page, "\n")
    page.keyboard.press("Shift+Home")
    _typed(page, "- id: publish\n")
    for line in ("skill: files", "action: publish", "dependsOn: [report]"):
        _typed(page, f"{line}\n")
    _typed(page, "params: {file: $report.files.document, to: lists/}")
    expect(page.get_by_test_id("plan-gates")).to_contain_text("Before publish")
    expect(page.get_by_test_id("plan-undos")).to_contain_text("publish: unpublish")
    _look(page, "editor-gates-and-undo")
    page.get_by_test_id("plan-dry-run").press("Enter")
    expect(page.locator('[data-testid="dry-run"][data-ended]')).to_be_visible()
    _look(page, "dry-run")
    page.get_by_test_id("plan-propose").press("Enter")
    pages.run_id(page)


def test_answers_and_blueprints_are_completed(browse: Browsing) -> None:
    page = browse("proposer")
    page.goto("/plans/new")
    pages.fill_plan(page, ASKING)
    pages.plan_field(page).focus()
    page.keyboard.press("Control+End")
    page.keyboard.type("$")
    for name in ("$ask.output.colour", "$blueprint.auth", "$inputs.env"):
        expect(page.get_by_role("option", name=name)).to_be_visible()
