"""The three demo plans, from the proposal to the result, through the browser."""

import csv
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser import pages
from tests.browser.browsing import Browsing, Camera
from tests.browser.stack import Stack


@pytest.mark.promise("S0.23", "S3.61", "S1.3")
def test_a_report_is_collected_cleaned_written_confirmed_and_published(
    browse: Browsing, live: Stack, camera: Camera, tmp_path: Path
):
    page = browse()
    run = _propose(page, "publish-package-report", {"Smallest package": "250000"})
    _see_that_the_proposer_cannot_decide(page, run)
    _decide_the_plan(page, run)

    gate = _open_step_gate(page, "publish")
    expect(page.get_by_text(re.compile(r"^\s*Trace verified"))).to_be_visible()
    camera.take(page, "run-gated", readme="run")
    camera.take(gate, "gate-step")
    _see_resolved_parameters(gate, "reports/")
    pages.approve(gate)

    _see_success(page, live, run)
    camera.take(page, "run-demo-ended")
    _open_step(page, "report")
    page.get_by_test_id("file-report").click()
    with page.expect_download() as download:
        page.get_by_test_id("file-download").click()
    page.go_back()
    download.value.save_as(tmp_path / "report.html")
    report = (tmp_path / "report.html").read_text()
    assert _largest_package(live) in report
    _see_the_trace(page, run, camera)
    published = (live.demo / "published" / "reports").rglob("*.html")
    assert [file.read_text() for file in published] == [report]


@pytest.mark.promise("S0.24")
def test_sums_are_read_transformed_confirmed_and_loaded_into_a_table(
    browse: Browsing, live: Stack
):
    page = browse()
    run = _propose(page, "load-package-sizes", {})
    _see_that_the_proposer_cannot_decide(page, run)
    _decide_the_plan(page, run)

    gate = _open_step_gate(page, "load")
    _see_resolved_parameters(gate, "package_sizes")
    assert _exists(live, "package_sizes") is False
    pages.approve(gate)

    _see_success(page, live, run)
    sums = live.warehouse("SELECT letter, packages, bytes FROM package_sizes")
    assert sum(packages for _, packages, _ in sums) == len(_inventory(live))
    _open_step(page, "load")
    expect(page.get_by_test_id("step-output-load")).to_contain_text("package_sizes")


@pytest.mark.promise("S3.61")
def test_a_release_is_branched_committed_confirmed_and_tagged(
    browse: Browsing, live: Stack
):
    page = browse()
    run = _propose(page, "tag-release", {"Version": "1.4.0"})
    _see_that_the_proposer_cannot_decide(page, run)
    _decide_the_plan(page, run)

    gate = _open_step_gate(page, "tag")
    _see_resolved_parameters(gate, _git(live, "rev-parse", "release/1.4.0"))
    assert _git(live, "tag", "--list", "v1.4.0") == ""
    pages.approve(gate)

    _see_success(page, live, run)
    assert _git(live, "tag", "--list", "v1.4.0") == "v1.4.0"
    assert run in _git(live, "show", "v1.4.0:NOTES.md")
    _open_step(page, "tag")
    expect(page.get_by_test_id("step-output-tag")).to_contain_text("v1.4.0")


def _propose(page: Page, example: str, inputs: Mapping[str, str]) -> str:
    """From the sign-in page to the run's page, by every button of the plan page."""
    pages.sign_in(page, "proposer")
    page.get_by_role("link", name="New run").first.click()
    page.locator(f"a[href$='example={example}']").click()
    if inputs:
        page.get_by_test_id("plan-check").click()
        expect(page.get_by_test_id("plan-problem")).to_have_attribute(
            "data-code", "plan.input_invalid"
        )
    for label, value in inputs.items():
        page.get_by_label(label).fill(value)
    page.get_by_test_id("plan-check").click()
    expect(page.get_by_test_id("plan-valid")).to_be_visible()
    expect(page.get_by_test_id("plan-gates")).to_contain_text(
        "The plan, before anything runs"
    )
    page.get_by_test_id("plan-dry-run").click()
    expect(page.get_by_test_id("dry-run-coverage")).to_have_text(
        re.compile(r"^[1-9]\d*% previewed$")
    )
    page.get_by_test_id("plan-propose").click()
    run = pages.run_id(page)
    pages.expect_state(page, "awaiting_approval")
    return run


def _see_that_the_proposer_cannot_decide(page: Page, run: str) -> None:
    page.get_by_test_id("run-waits").get_by_role("link").click()
    hindrance = page.get_by_test_id("gate-hindrance")
    expect(hindrance).to_have_attribute("data-code", "approval.own_proposal")
    expect(page.get_by_test_id("decision-form")).to_have_count(0)
    expect(page.get_by_test_id("gate-eligible")).to_contain_text("demo-operator")
    pages.sign_out(page)


def _decide_the_plan(page: Page, run: str) -> None:
    """As the operator, from the inbox to the live page of the run."""
    pages.sign_in(page, "operator")
    pages.open_from_inbox(page, run)
    expect(
        page.get_by_test_id("gate-steps").get_by_role("listitem").first
    ).to_be_visible()
    pages.approve(page)
    pages.keep_unbroken(page)


def _open_step_gate(page: Page, step: str) -> Page:
    """Open the gate of the step in a second tab; the run's page links to it."""
    link = page.get_by_test_id(f"gate-link-{step}")
    expect(link).to_have_text("View approval")
    expect(page.get_by_test_id(f"step-{step}").locator(".step-line")).to_have_attribute(
        "data-state", "gated"
    )
    with page.context.expect_page() as opened:
        link.click(modifiers=["ControlOrMeta"])
    return opened.value


def _see_resolved_parameters(gate: Page, value: str) -> None:
    shown = gate.locator("#gate-action")
    expect(shown).to_contain_text(value)
    expect(shown).not_to_contain_text(re.compile(r"\$\w+\.(output|files)"))
    expect(gate.get_by_test_id("gate-undo")).not_to_be_empty()


def _see_success(page: Page, live: Stack, run: str) -> None:
    """Check that the page that stayed open shows the end and a verified record."""
    pages.expect_state(page, "succeeded")
    events = len(live.events(run))
    badge = page.get_by_test_id("run-verified")
    expect(badge).to_contain_text(f"Trace verified: {events} events")
    assert pages.is_unbroken(page)


def _see_the_trace(page: Page, run: str, camera: Camera) -> None:
    page.goto(f"/trace?stream=run:{run}")
    page.get_by_role("link", name="Verify now").click()
    expect(page.get_by_test_id("verification-whole")).to_be_visible()
    expect(page.get_by_test_id("trace-row").nth(3)).to_be_visible()
    camera.take(page, "trace", readme="trace")


def _open_step(page: Page, step: str) -> None:
    page.get_by_test_id(f"step-{step}").locator("summary").first.click()


def _inventory(live: Stack) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []
    for file in (live.demo / "inbox").glob("packages-*.csv"):
        with file.open(newline="") as lines:
            rows += csv.DictReader(lines)
    return rows


def _largest_package(live: Stack) -> str:
    return max(_inventory(live), key=lambda row: int(row["bytes"]))["package"]


def _exists(live: Stack, table: str) -> bool:
    query = "SELECT table_name FROM information_schema.tables"
    return (table,) in live.warehouse(query)


def _git(live: Stack, *arguments: str) -> str:
    command = ["git", "-C", str(live.demo / "repository"), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return done.stdout.strip()
