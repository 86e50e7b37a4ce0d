"""A file is chosen, approved, read by a worker and looked at; a hostile one does nothing."""

import base64
from pathlib import Path

from playwright.sync_api import Page, expect

from tests.browser import pages
from tests.browser.browsing import Browsing, look_at
from tests.builders import plan, step

SCHEMA = {
    "type": "object",
    "properties": {
        "doc": {"type": "string", "format": "file", "title": "Amounts by region"}
    },
    "required": ["doc"],
}
PLAN = plan(step("take", "read", params={"file": "$inputs.doc"}), inputs=SCHEMA)
TABLE = "region,amount\n" + "".join(f"region {n},{n * 7}\n" for n in range(150))
HOSTILE = """<h1>Report</h1><p>Everything is fine.</p>
<script>parent.document.title = "taken"; document.body.textContent = "ran"</script>
<img src="/accounts/logout/" onerror="parent.document.title = 'taken'">
<a href="https://example.com/" target="_top">Next</a>
<form action="/accounts/logout/" method="post"><button>Go</button></form>"""
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def choose(page: Page, name: str, content: bytes) -> None:
    page.get_by_label("Amounts by region").set_input_files(
        {"name": name, "mimeType": "application/octet-stream", "buffer": content}
    )


def open_file(page: Page, name: str, content: bytes) -> None:
    """Upload a file on the page of a new run, and open its page."""
    pages.write_plan(page, PLAN)
    page.get_by_test_id("plan-check").click()
    choose(page, name, content)
    page.get_by_test_id("plan-check").click()
    page.get_by_test_id("upload-doc").get_by_role("link").click()
    expect(page.get_by_test_id("file-name")).to_be_visible()


def test_a_file_goes_from_the_form_to_the_worker(browse: Browsing) -> None:
    page = browse("proposer")
    pages.write_plan(page, PLAN)
    page.get_by_test_id("plan-check").click()
    choose(page, "amounts by region.csv", TABLE.encode())
    page.get_by_test_id("plan-check").click()
    expect(page.get_by_test_id("upload-doc")).to_contain_text("amounts by region.csv")
    look_at(page, "new-run")
    page.get_by_test_id("plan-propose").click()
    run = pages.run_id(page)

    operator = browse("operator")
    pages.open_from_inbox(operator, run)
    operator.get_by_role("link", name="amounts by region.csv").first.click()
    expect(operator.get_by_role("columnheader")).to_have_text(["region", "amount"])
    expect(operator.get_by_test_id("preview-note")).to_contain_text("first 100 rows")
    look_at(operator, "table")
    address = operator.url
    with operator.expect_download() as download:
        operator.get_by_test_id("file-download").click()
    assert Path(download.value.path()).read_bytes() == TABLE.encode()

    pages.open_from_inbox(operator, run)
    pages.approve(operator)
    pages.expect_state(operator, "succeeded")
    operator.goto(address)
    expect(operator.get_by_test_id("lineage-to")).to_contain_text("Step take of")
    look_at(operator, "lineage")


def test_a_hostile_page_is_shown_and_does_nothing(browse: Browsing, faults) -> None:
    faults.allow("sandbox|Content Security Policy|Blocked|violates")
    page = browse("proposer")
    open_file(page, "report.html", HOSTILE.encode())

    frame = page.frame_locator("iframe")
    expect(frame.get_by_role("heading", name="Report")).to_be_visible()
    frame.get_by_role("link", name="Next").click()
    frame.get_by_role("button", name="Go").click()
    expect(frame.get_by_text("Everything is fine.")).to_be_visible()
    assert "taken" not in page.title()
    assert "/artifacts/" in page.url
    look_at(page, "html")
    page.reload()
    expect(page.get_by_test_id("file-name")).to_have_text("report.html")


def test_an_image_and_a_value_are_shown(browse: Browsing) -> None:
    page = browse("proposer")
    open_file(page, "pixel.png", PIXEL)
    image = page.get_by_role("img", name="Content of the file")
    expect(image).to_have_js_property("complete", True)
    expect(image).to_have_js_property("naturalWidth", 1)

    open_file(page, "value.json", b'{"regions": [{"name": "north", "amount": 7}]}')
    expect(page.get_by_test_id("file-preview")).to_contain_text("north")
    look_at(page, "json")


def test_a_file_that_is_too_large_is_refused_before_it_is_sent(
    browse: Browsing,
) -> None:
    page = browse("proposer")
    pages.write_plan(page, PLAN)
    page.get_by_test_id("plan-check").click()
    page.get_by_label("Amounts by region").evaluate("(f) => f.dataset.mostBytes = 3")
    choose(page, "large.csv", b"1,2,3")
    page.get_by_test_id("plan-check").click()

    expect(page.locator("#refusal")).to_contain_text("it is too large")
