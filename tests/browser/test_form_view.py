"""The form view of the plan editor: a plan is written without a line of YAML."""

import json
import re
from urllib.parse import unquote_plus

from playwright.sync_api import Locator, Page, Route, expect

from tests.browser import pages
from tests.browser.browsing import Browsing, Faults, look_at
from tests.browser.test_live import CONNECTION_LOST

COMMENT = "# Kept.\n"


def _field(page: Page, *path: str | int) -> Locator:
    name = f"field:{json.dumps(path)}"
    return page.locator(f"[name='{name}']:not([type=hidden])")


def _add(page: Page, step: str) -> None:
    page.get_by_test_id("add-step").select_option(step)
    page.get_by_test_id("add-step-button").press("Enter")


def _expect_text(page: Page, part: str) -> None:
    expect(page.locator("[data-plan-text]")).to_have_value(re.compile(re.escape(part)))


def test_a_plan_is_written_in_the_form_with_the_keyboard_alone(browse: Browsing):
    page = browse("proposer")
    page.goto("/plans/new")
    page.get_by_role("tab", name="Text").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_test_id("form-view")).to_be_visible()
    _add(page, "files collect")
    expect(_field(page, "steps", 0, "id")).to_be_focused()

    pattern = _field(page, "steps", 0, "params", "pattern")
    pattern.focus()
    page.keyboard.type("$inputs.letters*.csv")
    page.keyboard.press("Tab")
    problem = page.get_by_test_id("field-problem")
    expect(problem).to_contain_text("unknown input 'letters'")
    expect(pattern).to_have_attribute("aria-invalid", "true")
    look_at(page, "form-view-problem")
    page.set_viewport_size({"width": 1280, "height": 900})

    _declare_input(page)
    expect(problem).to_have_count(0)
    _publish(page)
    _undo_and_redo(page)
    page.get_by_label("letters required").fill("a")
    expect(page.get_by_test_id("plan-gates")).to_contain_text("Before publish")
    page.get_by_test_id("plan-propose").press("Enter")
    pages.run_id(page)


def _declare_input(page: Page) -> None:
    page.locator("#card-plan").press("Enter")
    page.get_by_test_id("new-input").focus()
    page.keyboard.type("letters")
    page.keyboard.press("Enter")
    required = _field(page, "inputs", "required", "letters")
    required.press("Space")
    expect(page.get_by_label("letters required")).to_be_visible()


def _publish(page: Page) -> None:
    """Add a step that uses the first one, then give the first another id."""
    _add(page, "files publish")
    _field(page, "steps", 1, "dependsOn").press("Space")
    _field(page, "steps", 1, "params", "to").fill("reports/")
    file = _field(page, "steps", 1, "params", "file")
    file.fill("$collect.files.collected")
    file.press("Tab")
    page.locator("#card-0").press("Enter")
    identity = _field(page, "steps", 0, "id")
    identity.fill("gather")
    identity.press("Enter")
    _expect_text(page, "file: $gather.files.collected")
    _expect_text(page, "dependsOn: [gather]")


def _undo_and_redo(page: Page) -> None:
    _add(page, "approval")
    expect(page.get_by_test_id("form-card")).to_have_count(4)
    page.locator("#up-2").press("Enter")
    expect(page.locator("#up-1")).to_be_focused()
    page.keyboard.press("Control+z")
    expect(page.locator("#card-2")).to_contain_text("approval")
    page.get_by_role("button", name="Delete approval").press("Enter")
    expect(page.get_by_test_id("form-card")).to_have_count(3)
    page.get_by_role("button", name="Undo").press("Enter")
    expect(page.get_by_test_id("form-card")).to_have_count(4)
    page.get_by_role("button", name="Redo").press("Enter")
    expect(page.get_by_test_id("form-card")).to_have_count(3)


def test_the_text_and_the_form_are_the_same_plan(browse: Browsing) -> None:
    page = browse("proposer")
    page.goto("/plans/new?example=tag-release")
    before = pages.plan_text(page)
    pages.fill_plan(page, COMMENT + before)
    page.get_by_role("tab", name="Form").click()
    page.locator("#card-0").click()
    name = _field(page, "steps", 0, "name")
    name.fill("Another name")
    page.get_by_test_id("plan-check").click()  # before the pause in typing ends
    expect(page.get_by_test_id("form-view")).to_be_visible()
    _expect_text(page, "name: Another name")
    page.wait_for_url("**/plans/check")
    text = pages.plan_text(page)
    assert text.startswith(COMMENT)
    assert len(text.splitlines()) == len((COMMENT + before).splitlines())

    _a_broken_step_stays_in_its_field(page, text)
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_test_id("field-problem")).to_have_count(0)
    page.get_by_role("tab", name="Text").click()
    expect(pages.plan_field(page)).to_be_visible()
    pages.fill_plan(page, "plan: [")
    page.get_by_role("tab", name="Form").click()
    expect(page.get_by_test_id("form-view-refusal")).to_contain_text("Invalid YAML")
    assert pages.plan_text(page) == "plan: ["

    page.goto("/plans/new?example=publish-package-report")
    expect(page.get_by_test_id("form-card")).to_have_count(5)
    page.locator("#card-1").click()
    expect(_field(page, "steps", 1, "params", "sql")).to_be_visible()
    expect(_field(page, "steps", 0, "id")).to_have_count(0)
    look_at(page, "form-view")


def test_what_is_typed_during_a_request_is_not_lost(browse: Browsing) -> None:
    page = browse("proposer")
    page.goto("/plans/new?example=tag-release")
    page.get_by_role("tab", name="Form").click()
    page.locator("#card-0").click()
    name, when = _field(page, "steps", 0, "name"), _field(page, "steps", 0, "when")
    for release, act in enumerate(("name", "skill")):
        held = _held(page)
        if act == "name":
            name.fill("A new name")
            name.press("Tab")
        else:
            _field(page, "steps", 0, "skill").select_option("files")
        when.select_text()
        page.keyboard.type(f"inputs.version == '{release}")
        page.wait_for_timeout(100)
        held[0].continue_()
        page.keyboard.type("'")
        _expect_text(page, f"inputs.version == '{release}'")
        expect(when).to_have_value(f"inputs.version == '{release}'")
        expect(when).to_be_focused()
    _expect_text(page, "name: A new name")
    _expect_text(page, "skill: files")


def test_a_change_that_could_not_be_sent_is_sent_again(
    browse: Browsing, faults: Faults
) -> None:
    faults.allow(CONNECTION_LOST)
    page = browse("proposer")
    page.goto("/plans/new?example=tag-release")
    page.get_by_role("tab", name="Form").click()
    page.locator("#card-0").click()
    name = _field(page, "steps", 0, "name")
    page.route("**/plans/new/form", lambda route: route.abort(), times=3)
    name.fill("A new name")
    name.press("Tab")
    failed = page.get_by_test_id("form-view-failed")
    expect(failed).to_contain_text("the server did not answer")
    page.get_by_test_id("plan-save").click()
    expect(page.get_by_test_id("form-view")).to_be_visible()
    assert page.url.endswith("?example=tag-release")
    page.get_by_role("tab", name="Text").click()
    expect(failed).to_be_in_viewport()
    expect(page.get_by_test_id("form-view")).to_be_visible()
    failed.get_by_role("button", name="Retry").click()
    expect(failed).to_have_count(0)
    _expect_text(page, "name: A new name")
    _a_button_is_repeated(page)


def _a_button_is_repeated(page: Page) -> None:
    failed = page.get_by_test_id("form-view-failed")
    cards = page.get_by_test_id("form-card")
    number = cards.count()
    page.route("**/plans/new/form", lambda route: route.abort(), times=1)
    _add(page, "approval")
    failed.get_by_role("button", name="Retry").click()
    expect(cards).to_have_count(number + 1)
    page.route("**/plans/new/form", lambda route: route.abort(), times=1)
    page.get_by_role("button", name="Delete approval").click()
    expect(failed).to_be_visible()
    page.get_by_test_id("plan-check").click()  # sends again what could not be sent
    page.wait_for_url("**/plans/check")
    assert "kind: approval" not in pages.plan_text(page)


def _open_step(browse: Browsing, at: int) -> Page:
    page = browse("proposer")
    page.goto("/plans/new?example=tag-release")
    page.get_by_role("tab", name="Form").click()
    page.locator(f"#card-{at}").click()
    return page


def test_a_refused_change_is_shown_and_the_plan_is_not_sent(browse: Browsing) -> None:
    page = _open_step(browse, 0)
    with page.expect_request("**/plans/new/form") as sent:
        _field(page, "steps", 0, "name").fill("Another name")
    assert '["steps", 0, "name"]' in unquote_plus(sent.value.post_data or "")
    assert '["steps", 0, "id"]' not in unquote_plus(sent.value.post_data or "")
    _expect_text(page, "name: Another name")
    snippet, details = _field(page, "steps", 0), page.locator("#text-0")
    details.locator("summary").click()
    before = snippet.input_value()
    snippet.fill("id: [unfinished")
    page.get_by_test_id("plan-check").click()
    for button in (page.get_by_test_id("plan-save"), page.locator("#view-text")):
        expect(page.get_by_test_id("field-problem")).to_contain_text("Invalid YAML")
        expect(snippet).to_be_focused()
        details.locator("summary").click()
        expect(details).not_to_have_attribute("open", "")
        button.click()
    expect(snippet).to_be_focused()
    expect(snippet).to_have_value("id: [unfinished")
    assert page.url.endswith("?example=tag-release")
    page.get_by_role("button", name="Undo").click()
    expect(snippet).to_have_value(before)
    _a_taken_id_is_refused(page)


def test_a_box_that_was_refused_is_sent_again(browse: Browsing) -> None:
    page = browse("proposer")
    page.goto("/plans/new")
    names = [f"i{number}" for number in range(21)]
    properties = ", ".join(f"{name}: {{type: string}}" for name in names)
    step = "{id: a, kind: approval}, {id: b, kind: approval}"
    text = f"id: p\ninputs: {{properties: {{{properties}}}}}\nsteps: [{step}]\n"
    pages.fill_plan(page, text)
    page.get_by_role("tab", name="Form").click()
    page.locator("#card-plan").click()
    for name in names[:20]:
        title = _field(page, "inputs", "properties", name, "title")
        title.evaluate("title => (title.value = 'A title')")
    box = _field(page, "inputs", "required", "i20")
    box.check()
    expect(page.get_by_test_id("field-problem")).to_contain_text("At most 20 fields")
    expect(box).to_be_checked()
    assert "required" not in pages.plan_text(page)
    page.locator("#card-1").click()
    _expect_text(page, "required: [i20]")

    fieldset = page.get_by_role("group", name="Depends on")
    fieldset.evaluate("fieldset => fieldset.setAttribute('data-refused', '')")
    with page.expect_request("**/plans/new/form") as sent:
        page.get_by_test_id("plan-check").click()
    assert '["steps", 1, "dependsOn"]' in unquote_plus(sent.value.post_data or "")


def _a_taken_id_is_refused(page: Page) -> None:
    identity = _field(page, "steps", 0, "id")
    identity.fill("commit")
    page.get_by_test_id("plan-check").click()
    expect(page.get_by_test_id("field-problem")).to_contain_text("Duplicate step id")
    expect(identity).to_be_focused()
    identity.fill("first")
    page.get_by_test_id("plan-check").click()
    page.wait_for_url("**/plans/check")
    assert "id: first" in pages.plan_text(page)
    assert "name: Another name" in pages.plan_text(page)


def test_a_field_in_which_someone_types_is_left_alone(browse: Browsing) -> None:
    page = _open_step(browse, 0)
    page.locator("#more-0 summary").click()
    for path, first, second, made, written in (
        (("max",), "hello ", "world", "hello world", "max: hello world"),
        (("retry",), "- a\n", "- b", "- a\n- b", "retry:\n        - a\n        - b"),
        (("max",), "x", " ", "x", "max: x"),
    ):
        field = _field(page, "steps", 0, *path)
        field.select_text()
        for typed in (first, second):
            with page.expect_response("**/plans/new/form"):
                page.keyboard.type(typed)
            _expect_quiet(page)
        expect(field).to_have_value(first + second)
        with page.expect_response("**/plans/new/form"):
            page.keyboard.press("Tab")
        _expect_quiet(page)
        expect(field).to_have_value(made)
        _expect_text(page, written)


def _expect_quiet(page: Page) -> None:
    view = page.get_by_test_id("form-view")
    expect(view).not_to_have_attribute("aria-busy", "true")


def test_a_field_that_needs_another_control_is_replaced(browse: Browsing) -> None:
    page = _open_step(browse, 1)
    before = pages.plan_text(page)
    branch = page.get_by_role("checkbox", name="branch", exact=True)
    expect(branch).to_be_checked()
    renamed = before.replace("id: branch", "id: start").replace("[branch]", "[start]")
    pages.fill_plan(page, renamed.replace("Commit the", r'"Two\nlines" # '))
    name = _field(page, "steps", 1, "name")
    expect(name).to_have_value("Two\nlines")
    expect(page.get_by_role("checkbox", name="start", exact=True)).to_be_checked()
    pages.fill_plan(page, before)
    expect(branch).to_be_checked()
    name.fill("Another name")
    _field(page, "steps", 1, "skill").select_option("files")
    _field(page, "steps", 1, "action").select_option("collect")
    _expect_text(page, "action: collect")
    _expect_text(page, "name: Another name")
    _expect_text(page, "dependsOn: [branch]")


def _held(page: Page) -> list[Route]:
    """Hold the next request of the form until it is continued."""
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/plans/new/form", hold, times=1)
    return held


def _a_broken_step_stays_in_its_field(page: Page, text: str) -> None:
    page.locator("#card-0").click()
    snippet = _field(page, "steps", 0)
    page.locator("#text-0 summary").click()
    snippet.fill("id: [unfinished")
    snippet.press("Tab")
    expect(page.get_by_test_id("field-problem")).to_contain_text("Invalid YAML")
    expect(snippet).to_have_value("id: [unfinished")
    assert pages.plan_text(page) == text
