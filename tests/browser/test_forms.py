"""A step that asks for values, answered in the browser by keyboard."""

from playwright.sync_api import expect

from tests.browser import pages
from tests.browser.browsing import NARROW, WIDE, Browsing, Camera, Faults

PLAN = """\
plan:
  id: refund-by-form
  name: Refund an order
  steps:
    - id: ask
      name: Amount of the refund
      kind: input
      form:
        type: object
        properties:
          amount: {type: integer, minimum: 1, maximum: 500, title: Amount in EUR}
          why: {type: string, enum: [damaged, late, other], default: other, title: Reason}
          notify: {type: boolean, title: Notify the customer}
        required: [amount]
      ask: {reason: The customer has returned the order., groups: [operator]}
    - {id: pay, skill: noop, action: pass, dependsOn: [ask], params: {value: $ask.output.amount}}
"""


def test_a_form_is_found_answered_by_keyboard_and_the_run_goes_on(
    browse: Browsing, faults: Faults, camera: Camera
) -> None:
    faults.allow("422")
    page = browse("operator")
    run = pages.start(browse("proposer"), page, PLAN)
    expect(page.get_by_text("is waiting for an answer")).to_be_visible()
    page.goto("/inbox")
    row = pages.inbox_row(page, run)
    expect(row).to_contain_text("asks for values")
    row.get_by_role("link").click()

    page.get_by_label("Amount in EUR").focus()
    page.keyboard.type("900")
    page.keyboard.press("Tab")
    page.keyboard.type("late")
    page.keyboard.press("Tab")
    page.keyboard.type("true")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("input-error")).to_have_count(1)
    expect(page.get_by_label("Amount in EUR")).to_have_value("900")
    form = page.get_by_test_id("answer-form")
    expect(form.get_by_label("Reason")).to_have_value("late")
    expect(form.get_by_label("Notify the customer")).to_have_value("true")
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        for name, size in (("wide", WIDE), ("narrow", NARROW)):
            page.set_viewport_size({"width": size[0], "height": size[1]})
            assert page.evaluate(pages.TOO_WIDE) == []
            camera.take(page, f"form-{scheme}-{name}")

    page.get_by_label("Amount in EUR").fill("45")
    page.get_by_label("Amount in EUR").press("Enter")
    page.wait_for_url(pages.RUN_ADDRESS)
    pages.expect_state(page, "succeeded")
    camera.take(page, "form-answered")
