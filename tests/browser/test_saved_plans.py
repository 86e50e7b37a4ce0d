"""A saved plan in the browser: start it from its form by keyboard, copy it, edit it."""

from playwright.sync_api import expect

from tests.browser import pages
from tests.browser.browsing import WIDE, Browsing, Faults, look_at

PLAN = """\
plan:
  id: greet-by-form
  name: Greet by form   # the comment is copied
  inputs:
    type: object
    properties:
      count: {type: integer, minimum: 1, title: Number of times}
      day: {type: string, format: date, title: Day}
    required: [count, day]
  steps:
    - {id: greet, skill: noop, action: pass, params: {value: Hello $inputs.day}}
"""


def test_a_plan_is_saved_started_from_its_form_copied_and_edited(
    browse: Browsing, faults: Faults
) -> None:
    faults.allow("422")
    page = browse("proposer", permissions=["clipboard-read", "clipboard-write"])
    page.goto("/plans/new")
    file = {"name": "p.yaml", "mimeType": "text/plain", "buffer": PLAN.encode()}
    page.locator("#file").set_input_files(files=[file])  # type: ignore[list-item]
    expect(pages.plan_field(page)).to_contain_text("greet-by-form")
    page.get_by_test_id("plan-save").click()
    expect(page.get_by_test_id("message")).to_contain_text("is saved")

    page.get_by_label("Number of times").focus()
    page.keyboard.type("0")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("input-error")).to_have_count(2)
    look_at(page, "saved-plan-start")
    page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})
    page.get_by_test_id("copy-plan").click()
    expect(page.get_by_test_id("copy-plan")).to_have_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == PLAN

    page.get_by_label("Number of times").fill("3")
    page.get_by_label("Day").fill("2026-03-01")
    page.get_by_label("Day").press("Enter")
    pages.run_id(page)
    page.get_by_test_id("run-edit").click()
    expect(pages.plan_field(page)).to_contain_text("# the comment is copied")
    expect(page.get_by_label("Day")).to_have_value("2026-03-01")
