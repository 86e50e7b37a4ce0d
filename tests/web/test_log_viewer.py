"""The log by lines: pages, search, links to lines, and following a running step."""

import re

import pytest

from execfabric.lib import clock
from orchestration.runs.models import LogChunk, Run
from tests.builders import approved, claimed, completed, plan, step
from tests.console_builders import rows, signed_in, words

pytestmark = pytest.mark.usefixtures("registry")

CHUNK = 2000
"""Lines in one stored piece."""


@pytest.fixture
def run(proposer, operator) -> Run:
    run = approved(plan(step("send")), proposer, operator)
    claimed(run, "send")
    return run


def write(run: Run, lines: range, *, offset: int = 0, line: int | None = None) -> int:
    """Store numbered lines in pieces; return the end of the log."""
    row = run.steps.get(key="send")
    for start in range(lines.start, lines.stop, CHUNK):
        text = "".join(
            f"row {n}{' needle' if n % 400 == 0 else ''}\n"
            for n in range(start, min(start + CHUNK, lines.stop))
        )
        LogChunk.objects.create(
            step_run=row,
            fence=1,
            offset=offset,
            line=start - 1 if line is None else line,
            text=text,
            at=clock.now(),
        )
        offset += len(text)
    return offset


def viewer(run: Run, client, **query: str):
    return client.get(f"/runs/{run.pk}/steps/send/lines", query)


def numbers(page) -> list[int]:
    return [int(n) for n in re.findall(r'id="L(\d+)"', page.content.decode())]


def test_a_log_of_a_hundred_thousand_lines_is_shown_by_page(
    run, operator, django_assert_max_num_queries
) -> None:
    write(run, range(1, 100_001))
    client = signed_in(operator)

    first = viewer(run, client)
    with django_assert_max_num_queries(25):
        middle = viewer(run, client, line="54321")

    assert numbers(first) == [*range(1, 1001)]
    assert "Lines 1–1000 of 100000 stored" in words(first)
    assert numbers(middle) == [*range(54_001, 55_001)]
    assert 'href="?line=54321#L54321"' in middle.content.decode()
    assert rows(middle, "log-before") == rows(middle, "log-after") == 1
    later = viewer(run, client, **{"from": "99001"})
    assert numbers(later)[-1] == 100_000
    assert rows(later, "log-after") == 0


def test_a_search_counts_the_hits_and_leads_to_the_next_and_the_previous(
    run, operator
) -> None:
    write(run, range(1, 10_001))
    client = signed_in(operator)

    first = viewer(run, client, q="NEEDLE")
    fifth = viewer(run, client, q="needle", hit="5")

    assert "Hit 1 of 25, line 400" in words(first)
    assert "Hit 5 of 25, line 2000" in words(fifth)
    assert numbers(fifth)[0] == 1001
    text = fifth.content.decode()
    assert "hit=4" in text
    assert "hit=6" in text
    assert "hit=25" in first.content.decode()
    assert 'class="log-line log-hit log-here" id="L2000"' in text
    assert "No line contains this text" in words(viewer(run, client, q="absent"))


def test_lines_after_a_gap_have_their_own_numbers(run, operator) -> None:
    end = write(run, range(1, 11))
    write(run, range(501, 511), offset=end + 5000, line=500)

    page = viewer(run, signed_in(operator))

    assert numbers(page) == [*range(1, 11), *range(501, 511)]
    assert "490 lines, 5,000 characters were not stored" in words(page)


def test_a_running_step_is_followed_at_its_end(run, operator) -> None:
    end = write(run, range(1, 2501))
    client, fetched = signed_in(operator), {"HX-Request": "true"}
    address = f"/runs/{run.pk}/steps/send/lines"

    page = viewer(run, client, follow="")
    same = client.get(address, {"follow": "", "seen": str(end)}, headers=fetched)
    write(run, range(2501, 2504), offset=end)
    grown = client.get(address, {"follow": "", "seen": str(end)}, headers=fetched)

    assert numbers(page)[-1] == 2500
    assert f"seen={end}" in page.content.decode()
    assert same.status_code == 204
    assert numbers(grown)[-1] == 2503


def test_a_finished_step_is_not_followed(proposer, operator) -> None:
    run = approved(plan(step("send")), proposer, operator)
    lease = claimed(run, "send")
    write(run, range(1, 4))
    completed(lease)

    page = viewer(run, signed_in(operator), follow="")

    assert "data-follow" not in page.content.decode()
    assert "Follow" not in words(page)


@pytest.mark.parametrize(
    "query", [{"line": "x"}, {"hit": "-1", "q": "row"}, {"line": "9" * 30}]
)
def test_odd_addresses_show_a_page(run, operator, query) -> None:
    write(run, range(1, 4))

    assert numbers(viewer(run, signed_in(operator), **query)) == [1, 2, 3]


def test_hostile_lines_are_shown_and_not_obeyed(run, operator) -> None:
    LogChunk.objects.create(
        step_run=run.steps.get(),
        fence=1,
        offset=0,
        line=0,
        text="<script>alert(1)</script>\u202e\n",
        at=clock.now(),
    )

    text = viewer(run, signed_in(operator), q="<script>").content.decode()

    assert "<script>alert" not in text
    assert "U+202E" in text


def test_the_log_of_a_hidden_run_is_unknown(run, stranger) -> None:
    assert viewer(run, signed_in(stranger)).status_code == 404
