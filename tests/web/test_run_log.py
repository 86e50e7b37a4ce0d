"""What steps wrote and yielded, on the page of their run."""

import html
import re

import pytest
from django.http import HttpResponse

from audit import selectors as audit
from execfabric.lib import clock
from orchestration.runs.engine import artifacts
from orchestration.runs.models import LogChunk, StepRun
from tests.builders import approved, driven, proposed
from tests.console_builders import codes, rows, signed_in
from tests.web.run_builders import TWO_STEPS, element, page_of, step_of

pytestmark = pytest.mark.usefixtures("registry")


def written(row: StepRun, *texts: str, start: int = 0, line: int = 0) -> None:
    """Store texts one after the other, as a worker does."""
    for text in texts:
        LogChunk.objects.create(
            step_run=row, fence=1, offset=start, line=line, text=text, at=clock.now()
        )
        start, line = start + len(text), line + text.count("\n")


def shown_log(response: HttpResponse, position: int = 0) -> str:
    page = response.content.decode()
    return page.split(f'id="log-{position}"')[1].split("</pre>")[0].split(">\n", 1)[1]


def test_a_long_log_is_shown_from_both_ends_and_downloaded_whole(
    proposer, operator
) -> None:
    run = approved(TWO_STEPS, proposer, operator)
    lines = [f"line {number}\n" for number in range(4000)]
    written(run.steps.get(key="first"), "".join(lines), "<end>")
    client = signed_in(proposer)

    shown = shown_log(step_of(run, "first", client))
    raw = client.get(f"/runs/{run.pk}/steps/first/log")

    assert shown.startswith("line 0\nline 1\n")
    assert shown.endswith("line 3999\n&lt;end&gt;")
    [(left_out, characters)] = re.findall(r"\[([\d,]+) lines, ([\d,]+) char", shown)
    told = html.unescape(re.sub(r"<span.*?</span>", "", shown, flags=re.DOTALL))
    assert told.count("\n") + int(left_out.replace(",", "")) == 4000
    size = len("".join(lines)) + len("<end>")
    assert len(told) + int(characters.replace(",", "")) == size
    assert len(shown) < 17_000
    assert b"".join(raw).decode() == "".join(lines) + "<end>"
    assert raw["Content-Type"] == "text/plain; charset=utf-8"
    assert raw["Content-Disposition"] == 'attachment; filename="first.log"'


def test_what_was_not_stored_is_counted_on_the_page_and_in_the_download(
    proposer, operator
) -> None:
    run = approved(TWO_STEPS, proposer, operator)
    row = run.steps.get(key="first")
    written(row, "a\nb\n")
    written(row, "y\nz\n", start=2_000_004, line=1_000_002)
    client = signed_in(proposer)

    shown = shown_log(step_of(run, "first", client))
    raw = client.get(f"/runs/{run.pk}/steps/first/log")

    assert "[1,000,000 lines, 2,000,000 characters not shown" in shown
    note = "\n[1,000,000 lines, 2,000,000 characters were not stored]\n"
    assert b"".join(raw).decode() == f"a\nb\n{note}y\nz\n"


@pytest.mark.parametrize("size", [10, 30_000])
def test_a_live_log_is_the_log_after_a_reload(proposer, operator, size) -> None:
    run = approved(TWO_STEPS, proposer, operator)
    row = run.steps.get(key="first")
    client = signed_in(proposer)
    written(row, "\nstart\n")

    frames = []
    for _ in range(3):
        last = LogChunk.objects.filter(step_run=row).latest("offset")
        end = last.offset + len(last.text)
        written(row, "x" * size + "\n", "a p\u0430y", start=end, line=last.line)
        query = {"after": "1", "log": f"0.{end}"}
        frames.append(client.get(f"/runs/{run.pk}/live", query).content.decode())

    reloaded = shown_log(step_of(run, "first", client))
    assert f'<div hx-swap-oob="innerHTML:#log-0">{reloaded}</div>' in frames[-1]


def test_only_the_logs_that_a_page_shows_are_sent_and_only_when_they_grow(
    proposer, operator
) -> None:
    run = approved(TWO_STEPS, proposer, operator)
    written(run.steps.get(key="first"), "hello")
    client = signed_in(proposer)
    address, head = f"/runs/{run.pk}/live", audit.head(run.stream)

    assert client.get(address, {"after": head, "log": ""}).status_code == 204
    assert client.get(address, {"after": head, "log": "0.5"}).status_code == 204
    assert (
        "hello" in client.get(address, {"after": head, "log": "0.0"}).content.decode()
    )


def test_a_log_keeps_its_layout_and_marks_what_would_deceive(
    proposer, operator
) -> None:
    run = approved(TWO_STEPS, proposer, operator)
    table = "a" + " " * 20 + "b\n\n\n\n\n\tc\r\n"
    text = table + "safe\u202egnp.exe \x1b[31mred\u200b <i>"
    written(run.steps.get(key="first"), text)
    client = signed_in(proposer)

    page = step_of(run, "first", client).content.decode()
    frame = client.get(f"/runs/{run.pk}/live?after=1&log=0.0").content.decode()

    for drawn in (page, frame):
        assert table.replace("\r", "") in drawn.replace("\r", "")
        assert "&lt;i&gt;" in drawn
        assert all(f"U+{code}" in drawn for code in ("202E", "001B", "200B"))
        assert not {"\u202e", "\x1b", "\u200b"} & set(drawn)


def test_a_step_that_has_ended_is_marked_as_such(proposer, operator, worker) -> None:
    waiting = proposed(TWO_STEPS, proposer)
    ended = driven(approved(TWO_STEPS, proposer, operator), worker)

    assert "data-ended" not in element(page_of(waiting, signed_in(proposer)), "head-0")
    assert "data-ended" in element(page_of(ended, signed_in(proposer)), "head-0")[:80]


def test_a_file_is_handed_out_to_whoever_may_see_its_run_and_to_nobody_else(
    proposer, operator, stranger, worker, tmp_path
) -> None:
    run = approved(TWO_STEPS, proposer, operator)
    path = tmp_path / "report.html"
    path.write_text("<script>alert(1)</script>")
    row = run.steps.get(key="first")
    kept = artifacts.store(
        {"report": path}, folder=path.parent, step_run_id=row.pk, at=clock.now()
    )
    sha256 = kept["report"]["$file"]["sha256"]

    page = step_of(run, "first", signed_in(proposer))
    given = signed_in(proposer).get(f"/artifacts/{sha256}/download")
    refused = signed_in(stranger).get(f"/artifacts/{sha256}/download")

    assert rows(page, "file-first") == 1
    assert b"".join(given) == b"<script>alert(1)</script>"
    assert given["Content-Type"] == "application/octet-stream"
    assert given["Content-Disposition"].startswith("attachment;")
    assert refused.status_code == 404
    assert codes(refused) == ["artifact.unknown"]
