"""The artifacts of a run appear while it runs, and form chains that users can change."""

from playwright.sync_api import Page, expect

from tests.browser import pages
from tests.browser.browsing import Browsing, look_at
from tests.browser.test_accessibility import ALL, severe_in
from tests.builders import plan, step

TABLE = "region,amount\nnorth,7\n"
PDF = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj 2 0 obj<</Type/Pages"
    b"/Kids[3 0 R]/Count 1>>endobj 3 0 obj<</Type/Page/Parent 2 0 R"
    b"/MediaBox[0 0 200 200]/Contents 4 0 R/Resources<</Font<</F1<</Type/Font"
    b"/Subtype/Type1/BaseFont/Helvetica>>>>>>>>endobj 4 0 obj<</Length 44>>stream\n"
    b"BT /F1 24 Tf 20 100 Td (Hello there) Tj ET  \nendstream endobj\n"
    b"trailer<</Root 1 0 R>>"
)


def report(text: str) -> str:
    """Return a plan that writes a table, waits for an approval, and copies the table."""
    table = step("table", "write", params={"text": text, "name": "amounts.csv"})
    ask = step("ask", "risky", after="table")
    copied = {"text": text, "of": "$table.files.note", "name": "copy.csv"}
    copy = step("copy", "write", after="ask", params=copied)
    return plan(table, ask, copy, id="chain-plan", name="Report the amounts")


def tracked(page: Page, name: str, progress: str) -> None:
    row = page.locator(f'[data-testid="tracked-artifact"][data-name="{name}"]')
    expect(row).to_have_attribute("data-progress", progress)


def run_through(proposer: Page, operator: Page, text: str) -> None:
    """Run a plan; watch its artifacts appear without a reload."""
    run = pages.start(proposer, operator, report(text))
    proposer.goto(f"/runs/{run}?view=artifacts")
    pages.expect_live(proposer)
    pages.keep_unbroken(proposer)
    tracked(proposer, "table/note", "done")
    tracked(proposer, "copy/note", "expected")
    look_at(proposer, "run-artifacts")
    pages.open_from_inbox(operator, run)
    pages.approve(operator)
    tracked(proposer, "copy/note", "done")
    expect(proposer.get_by_test_id("artifacts-progress")).to_have_text(
        "2 of 2 artifacts done"
    )
    expect(proposer.get_by_test_id("run-artifacts")).to_contain_text("Current")
    assert pages.is_unbroken(proposer)


def test_two_runs_make_a_chain_that_is_forked_and_archived(browse: Browsing) -> None:
    page, operator = browse("proposer"), browse("operator")
    run_through(page, operator, TABLE)
    run_through(page, operator, TABLE + "south,9\n")

    page.get_by_role("link", name="Artifacts").first.click()
    look_at(page, "artifacts")
    page.get_by_label("Search").fill("table chain-plan")
    page.get_by_role("button", name="Search").click()
    expect(page.get_by_test_id("artifact-row")).to_have_count(1)
    page.get_by_test_id("artifact-row").get_by_role("link").click()
    expect(page.get_by_test_id("artifact-version")).to_have_count(2)
    expect(page.get_by_test_id("artifact-made")).to_contain_text("copy/note")
    expect(page.get_by_role("cell", name="south")).to_be_visible()
    assert severe_in(page, ALL) == []
    look_at(page, "artifact")

    page.get_by_role("link", name="amounts.csv").last.click()
    expect(page.get_by_role("cell", name="south")).to_have_count(0)
    page.get_by_label("Name of the fork").fill("for the board")
    page.get_by_role("button", name="Fork version").click()
    expect(page.get_by_test_id("artifact-name")).to_have_text("for the board")
    expect(page.get_by_test_id("artifact-sources")).to_contain_text("table/note")
    look_at(page, "fork")
    page.get_by_label("Reason").fill("The numbers are wrong.")
    page.get_by_role("button", name="Archive version").click()
    expect(page.get_by_test_id("message")).to_contain_text("Version archived")
    expect(page.get_by_test_id("artifact-version")).to_contain_text("numbers are wrong")


def test_a_pdf_file_is_shown_in_a_frame(browse: Browsing) -> None:
    page = browse("proposer")
    schema = {"type": "object", "properties": {"doc": {"type": "string", "format": "file", "title": "Paper"}}}  # fmt: skip
    pages.write_plan(
        page, plan(step("take", "read", params={"file": "$inputs.doc"}), inputs=schema)
    )
    page.get_by_test_id("plan-check").click()
    page.get_by_label("Paper").set_input_files(
        {"name": "paper.pdf", "mimeType": "application/pdf", "buffer": PDF}
    )
    page.get_by_test_id("plan-check").click()
    with page.expect_response("**/view") as answer:
        page.get_by_test_id("upload-doc").get_by_role("link").click()
    assert answer.value.headers["content-type"] == "application/pdf"
    expect(page.locator("iframe.file-frame")).to_be_visible()
    look_at(page, "pdf")
