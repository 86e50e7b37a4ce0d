"""What steps wrote and yielded, on the page of their run."""

import pytest

from execfabric.lib import clock
from orchestration.runs import selectors
from orchestration.runs.models import LogChunk
from orchestration.runs.services import artifacts
from tests.builders import approved, driven, proposed
from tests.console_builders import codes, rows, signed_in
from tests.web.run_builders import TWO_STEPS, element, page_of

pytestmark = pytest.mark.usefixtures("registry")


def test_the_log_is_shown_from_its_end_and_whole_as_plain_text(
    proposer, operator
) -> None:
    run = approved(TWO_STEPS, proposer, operator)
    row = run.steps.get(key="first")
    long = "".join(f"line {number}\n" for number in range(4000))
    LogChunk.objects.create(step_run=row, fence=1, offset=0, text=long, at=clock.now())
    LogChunk.objects.create(
        step_run=row, fence=1, offset=len(long), text="<end>", at=clock.now()
    )
    client = signed_in(proposer)

    page = page_of(run, client)
    raw = client.get(f"/runs/{run.pk}/steps/first/log")

    shown = (
        page.content.decode().split('<pre class="log" id="log-0"')[1].split("</pre>")[0]
    )
    assert "&lt;end&gt;" in shown
    assert "characters left out here" in shown
    assert len(shown) < 20_000
    assert b"".join(raw).decode() == long + "<end>"
    assert raw["Content-Type"] == "text/plain; charset=utf-8"


def test_a_log_keeps_its_layout_and_marks_what_would_deceive(
    proposer, operator
) -> None:
    run = approved(TWO_STEPS, proposer, operator)
    row = run.steps.get(key="first")
    table = "a" + " " * 20 + "b\n\n\n\n\n\tc\r\n"
    text = table + "safe\u202egnp.exe \x1b[31mred\u200b <i>"
    LogChunk.objects.create(step_run=row, fence=1, offset=0, text=text, at=clock.now())
    client = signed_in(proposer)

    page = page_of(run, client).content.decode()
    frame = client.get(f"/runs/{run.pk}/live?after=1&log=").content.decode()

    for html in (page, frame):
        assert table.replace("\r", "") in html.replace("\r", "")
        assert "&lt;i&gt;" in html
        assert all(f"U+{code}" in html for code in ("202E", "001B", "200B"))
        assert not {"\u202e", "\x1b", "\u200b"} & set(html)


def test_a_step_that_has_ended_is_marked_as_such(proposer, operator, bench) -> None:
    waiting = proposed(TWO_STEPS, proposer)
    ended = driven(approved(TWO_STEPS, proposer, operator), bench)

    assert "data-ended" not in element(page_of(waiting, signed_in(proposer)), "head-0")
    assert "data-ended" in element(page_of(ended, signed_in(proposer)), "head-0")[:80]


@pytest.mark.parametrize("cut", [0, 1, 5, 6, 7, 11, 12, 40])
def test_a_log_read_in_pieces_is_the_whole_log(proposer, operator, cut) -> None:
    run = approved(TWO_STEPS, proposer, operator)
    row = run.steps.get(key="first")
    for offset, text in ((0, "first\n"), (6, "second"), (12, "")):
        LogChunk.objects.create(
            step_run=row, fence=1, offset=offset, text=text, at=clock.now()
        )

    text, end = selectors.log_text(row, cut)

    assert text == "first\nsecond"[cut:]
    assert end == max(12, cut)


def test_a_file_is_handed_out_to_whoever_may_see_its_run_and_to_nobody_else(
    proposer, operator, stranger, bench, tmp_path
) -> None:
    run = approved(TWO_STEPS, proposer, operator)
    path = tmp_path / "report.html"
    path.write_text("<script>alert(1)</script>")
    row = run.steps.get(key="first")
    kept = artifacts.keep(
        {"report": path}, folder=path.parent, step_run_id=row.pk, at=clock.now()
    )
    sha256 = kept["report"]["$file"]["sha256"]

    page = page_of(run, signed_in(proposer))
    given = signed_in(proposer).get(f"/artifacts/{sha256}")
    refused = signed_in(stranger).get(f"/artifacts/{sha256}")

    assert rows(page, "file-first") == 1
    assert b"".join(given) == b"<script>alert(1)</script>"
    assert given["Content-Type"] == "application/octet-stream"
    assert given["Content-Disposition"].startswith("attachment;")
    assert refused.status_code == 404
    assert codes(refused) == ["artifact.unknown"]
