"""The page "New run" follows the plan while it is typed."""

from playwright.sync_api import expect

from tests.browser import pages
from tests.browser.browsing import Browsing, look_at

PLAN = """\
plan:
  id: typed
  name: Typed while watched
  inputs:
    type: object
    required: [word]
    properties: {word: {type: string, title: The word}}
  steps:
    - {id: collect, skill: files, action: collect, params: {pattern: $inputs.word}}
    - id: publish
      skill: files
      action: publish
      dependsOn: [collect]
      params: {file: $collect.files.collected, name: $inputs.word}
"""
SECOND = "properties: {word: {type: string, title: The word}, more: {type: integer}}"


def test_inputs_graph_and_approvals_follow_the_text(browse: Browsing) -> None:
    page = browse("proposer")
    page.goto("/plans/new")
    pages.fill_plan(page, PLAN)

    expect(page.get_by_label("The word")).to_be_visible()
    expect(page.get_by_test_id("graph-node")).to_have_count(2)
    expect(page.get_by_test_id("plan-needs-inputs")).to_be_visible()
    expect(page.get_by_test_id("plan-gates")).to_contain_text("publish")
    expect(page.get_by_test_id("plan-undos")).to_contain_text("publish: unpublish")

    page.get_by_label("The word").fill("x")
    expect(page.get_by_test_id("plan-needs-inputs")).to_have_count(0)
    expect(page.get_by_test_id("plan-valid")).to_contain_text("Ready to propose")
    expect(page.get_by_label("The word")).to_be_focused()
    look_at(page, "composer")

    page.get_by_test_id("plan-check").focus()
    pages.fill_plan(
        page, PLAN.replace(PLAN[PLAN.index("prop") : PLAN.index("}}") + 2], SECOND)
    )
    expect(page.get_by_label("more")).to_be_visible()
    expect(page.get_by_label("The word")).to_have_value("x")

    pages.fill_plan(page, PLAN.replace("dependsOn: [collect]", "dependsOn: [colect]"))
    problem = page.locator('[data-code="plan.unknown_step"]')
    expect(problem).to_contain_text("Did you mean 'collect'?")
    expect(page.get_by_test_id("plan-valid")).to_have_count(0)


def test_an_example_leaves_the_draft_of_another_page_alone(browse: Browsing) -> None:
    page = browse("proposer")
    page.goto("/plans/new")
    pages.fill_plan(page, PLAN)
    page.get_by_label("The word").fill("kept")
    page.goto("/plans/new?example=tag-release")
    expect(page.get_by_test_id("graph-node").first).to_be_visible()
    assert "Typed while watched" not in pages.plan_text(page)
    pages.fill_plan(page, pages.plan_text(page) + "# mine")

    page.goto("/plans/new")
    assert pages.plan_text(page) == PLAN
    expect(page.get_by_label("The word")).to_have_value("kept")
    page.goto("/plans/new?example=tag-release")
    assert pages.plan_text(page).endswith("# mine")
