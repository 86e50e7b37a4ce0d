"""What strangers type does no harm, and the answer says what is wrong with it."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser import pages
from tests.browser.browsing import Browsing, Faults
from tests.browser.stack import Stack

MALFORMED = """\
plan:
  id: broken
  name: "Never closed
  steps: []
"""
TWO_MISTAKES = """\
plan:
  id: two-mistakes
  steps:
    - {id: one, skill: noop, action: pass, colour: blue}
    - {id: two, skill: noop, action: pass, dependsOn: [three]}
"""
HOSTILE = (
    "<script>window.hurt = 1</script>"
    "<img src=x onerror='window.hurt = 2'>"
    "<b hx-get=/inbox hx-trigger=load>bold</b>"
    "safe\u202etxt.exe\u200b"
)


def _chosen(page: Page) -> tuple[int, str]:
    """Line of the cursor in the plan's text, and the text that is selected."""
    found = pages.plan_field(page).evaluate(
        """(editor) => {
          const chosen = document.getSelection();
          const lines = [...editor.querySelectorAll(".cm-line")];
          const line = lines.findIndex((each) => each.contains(chosen.anchorNode));
          return [line + 1, chosen.toString()];
        }"""
    )
    return int(found[0]), str(found[1])


def test_malformed_yaml_is_shown_at_its_line_and_column(browse: Browsing):
    page = browse("proposer")
    pages.write_plan(page, MALFORMED)

    page.get_by_test_id("plan-check").click()

    problem = page.get_by_test_id("plan-problem")
    expect(problem).to_have_attribute("data-code", re.compile(r"^plan\."))
    expect(problem).to_contain_text(re.compile(r"line \d+, column \d+"))
    expect(page.locator(".excerpt-wrong")).to_be_visible()


def test_every_mistake_is_shown_at_once_and_leads_to_its_line(browse: Browsing):
    page = browse("proposer")
    pages.write_plan(page, TWO_MISTAKES)

    page.get_by_test_id("plan-check").click()

    expect(page.get_by_test_id("plan-problem")).not_to_have_count(0)
    shown = pages.problems(page)
    assert any("colour" in words and "line 4" in words for _, words in shown)
    at_three = [words for _, words in shown if "three" in words and "line 5" in words]
    assert at_three
    page.get_by_role("link", name=re.compile("^line 5")).first.click()
    line, selected = _chosen(page)
    assert line == 5
    assert selected.startswith("three") or "three" in selected
    expect(page.locator(".cm-lint-marker-error")).to_have_count(2)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[" * 1000 + "]" * 1000, id="a thousand levels"),
        pytest.param("plan: {name: " + "x" * (1 << 20) + "}", id="a megabyte"),
    ],
)
def test_a_monstrous_text_gets_an_error_with_a_code(
    browse: Browsing, faults: Faults, text: str
):
    # The editor then shows a text without colours.
    faults.allow("Maximum call stack size exceeded")
    page = browse("proposer")
    pages.write_plan(page, text)

    page.get_by_test_id("plan-check").click()

    expect(page.get_by_test_id("plan-problem").first).to_have_attribute(
        "data-code", re.compile(r"^plan\.")
    )


def test_ten_pasted_megabytes_are_refused_before_they_are_sent_and_stay(
    browse: Browsing,
):
    page = browse("proposer")
    page.goto("/plans/new")
    text = page.locator("[data-plan-text]")
    text.evaluate("(area) => { area.value = 'x: ' + 'y'.repeat(10 << 20); }")
    pages.keep_unbroken(page)

    page.get_by_test_id("plan-check").click()

    refusal = page.get_by_test_id("refusal")
    expect(refusal).to_have_attribute("data-code", "request.too_large")
    expect(refusal).to_contain_text("max 5,242,880 bytes")
    assert pages.is_unbroken(page)
    assert text.evaluate("(area) => area.value.length") == 3 + (10 << 20)

    text.evaluate("(area) => { area.value = 'plan: ['; }")
    page.get_by_test_id("plan-check").click()
    expect(page.get_by_test_id("plan-problem")).to_be_visible()


def test_the_server_refuses_what_a_page_without_scripts_sends(
    browse: Browsing, faults: Faults
):
    faults.allow("status of 413")
    page = browse("proposer", java_script_enabled=False)
    page.goto("/plans/new")
    page.get_by_role("textbox", name="Plan, in YAML or JSON").fill("y" * (6 << 20))

    page.get_by_test_id("plan-check").click()

    expect(page.locator("main")).to_contain_text("max 5,242,880 bytes")
    expect(page.locator("main")).to_contain_text("request.too_large")


def test_ten_uploaded_megabytes_are_refused_before_they_are_sent(
    browse: Browsing, tmp_path: Path
):
    large = tmp_path / "plan.yaml"
    large.write_bytes(b"plan: " + b"x" * (10 << 20))
    page = browse("proposer")
    page.goto("/plans/new")
    pages.keep_unbroken(page)
    page.get_by_label("or a file").set_input_files(large)

    refusal = page.get_by_test_id("refusal")
    expect(refusal).to_have_attribute("data-code", "plan.too_large")
    expect(refusal).to_contain_text("max 4,194,304 bytes")
    page.get_by_test_id("plan-check").click()
    expect(refusal).to_be_visible()
    assert pages.is_unbroken(page)


def test_hostile_text_is_shown_marked_and_never_comes_to_life(browse: Browsing):
    text = (
        (
            f"plan:\n  id: hostile\n  name: {HOSTILE!r}\n  description: {HOSTILE!r}\n"
            "  steps:\n    - id: one\n      skill: lab\n      action: risky\n"
            f"      name: {HOSTILE!r}\n      params: {{note: {HOSTILE!r}}}\n"
        )
        .replace("'<", '"<')
        .replace("\\u200b'", '\\u200b"')
    )
    operator = browse("operator")
    run = pages.propose(browse("proposer"), text)

    pages.open_from_inbox(operator, run)
    _is_shown_and_dead(operator)
    pages.approve(operator)
    expect(operator.get_by_test_id("gate-link-one")).to_have_text("View approval")
    _is_shown_and_dead(operator)
    operator.get_by_test_id("gate-link-one").click()
    expect(operator.get_by_test_id("decision-form")).to_be_visible()
    _is_shown_and_dead(operator)
    for address in ("/inbox", "/runs", f"/runs/{run}?view=plan", "/"):
        operator.goto(address)
        _is_shown_and_dead(operator)
    pages.open_from_inbox(operator, run)
    operator.get_by_label("Comment").fill(HOSTILE[:60])
    operator.get_by_role("button", name="Reject").click()
    pages.expect_state(operator, "rejected")
    _is_shown_and_dead(operator)


def _is_shown_and_dead(page: Page) -> None:
    main = page.locator("main")
    expect(main).to_contain_text("<script>window.hurt = 1</script>")
    expect(main.locator("mark").first).to_be_visible()
    assert (
        page.locator("main script, main img[src=x], main [hx-get='/inbox'] b").count()
        == 0
    )
    assert page.locator("b[hx-get]").count() == 0
    assert page.evaluate("window.hurt") is None
    raw = str(main.evaluate("(one) => one.textContent"))
    assert "\u202e" not in raw
    assert "\u200b" not in raw


@pytest.mark.parametrize(
    ("name", "password"),
    [
        pytest.param("demo-operator", "wrong", id="wrong password"),
        pytest.param("nobody-here", "wrong", id="unknown name"),
    ],
)
def test_a_failed_sign_in_does_not_say_what_was_wrong(
    browse: Browsing, name: str, password: str
):
    page = browse()
    page.goto("/accounts/login/")
    page.get_by_label("User name").fill(name)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()

    alert = page.get_by_role("alert")
    expect(alert).to_have_text("Wrong user name or password.")
    expect(page.get_by_label("Password")).to_have_value("")


@pytest.fixture
def earnest(live: Stack) -> Iterator[str]:
    """Start a second web server on the same database, without demo mode."""
    with live.another_web(EXECFABRIC_DEMO="false") as address:
        yield address


def test_outside_demo_mode_nobody_signs_in_at_one_click(
    earnest: str, browse: Browsing, faults: Faults, live: Stack
):
    faults.allow("status of 403")
    page = browse(address=earnest)
    page.goto("/accounts/login/")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert page.get_by_test_id("demo-operator").count() == 0

    # The form of the demo, put together by hand.
    page.evaluate("""() => {
        const form = document.querySelector("form");
        form.action = "/accounts/demo/";
        const name = document.createElement("input");
        [name.type, name.name, name.value] = ["hidden", "username", "demo-operator"];
        form.append(name);
        form.noValidate = true;
        form.submit();
    }""")
    expect(page.get_by_test_id("refusal")).to_have_attribute(
        "data-code", "auth.demo_mode_off"
    )
    page.goto("/inbox")
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()

    page.get_by_label("User name").fill("demo-operator")
    page.get_by_label("Password").fill(live.password("operator"))
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_test_id("me")).to_contain_text("demo-operator")
