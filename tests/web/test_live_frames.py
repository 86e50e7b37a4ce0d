"""Frames: what changed behind a cursor, as parts that fit the page."""

import re

import pytest

from audit import selectors as audit
from execfabric.lib import clock
from orchestration.runs.pages import frames
from orchestration.runs.pages.frames import Cursor, LivePage
from tests.builders import approved, decided, open_gate, plan, proposed, step
from tests.console_builders import signed_in

TWO_STEPS = plan(step("first"), step("second", after="first"))


real = pytest.mark.django_db(transaction=True)


def test_the_same_frame_is_to_be_had_without_a_socket(
    registry, proposer, operator
) -> None:
    run = proposed(TWO_STEPS, proposer)
    client, head = signed_in(proposer), audit.head(run.stream)
    address = f"/runs/{run.pk}/live"

    nothing = client.get(address, {"after": head, "log": ""})
    decided(open_gate(run), operator)
    frame = client.get(address, {"after": head, "log": ""})
    by = proposer.actor()
    same = frames.since(LivePage(run.pk), Cursor(head), by=by, at=clock.now())

    assert nothing.status_code == 204
    assert same is not None
    assert without_times(frame.content.decode()) == without_times(same.html)


def without_times(html: str) -> str:
    return re.sub(r">[^<]*(?:ago|now|ms| s)<", "><", html)


def test_the_parts_of_a_frame_are_the_parts_of_the_page(
    registry, proposer, operator
) -> None:
    run = approved(TWO_STEPS, proposer, operator)
    page = signed_in(proposer).get(f"/runs/{run.pk}").content.decode()

    frame = frames.snapshot(
        LivePage(run.pk), Cursor(), by=proposer.actor(), at=clock.now()
    )

    parts = re.findall(r'id="([\w-]+)"[^>]*hx-swap-oob', frame.html)
    assert {"run-state", "run-waits", "run-numbers", "head-0", "gate-1"} <= set(parts)
    for part in parts:
        assert f'id="{part}"' in page


def test_no_input_and_no_disclosure_is_inside_a_part_that_is_swapped(
    registry, proposer, operator
) -> None:
    run = approved(TWO_STEPS, proposer, operator)

    frame = frames.snapshot(
        LivePage(run.pk), Cursor(), by=proposer.actor(), at=clock.now()
    )

    assert not re.findall(r"<(?:input|textarea|select|details|form)\b", frame.html)


def test_behind_a_wide_gap_the_page_is_redrawn(
    registry, proposer, operator, monkeypatch
) -> None:
    run = approved(TWO_STEPS, proposer, operator)
    monkeypatch.setattr(frames, "GAP", 3)

    frame = frames.since(
        LivePage(run.pk, "events"), Cursor(0), by=proposer.actor(), at=clock.now()
    )

    assert frame is not None
    assert "data-redraw" in frame.html
    assert 'id="events"' in frame.html
    assert frame.cursor.seq == audit.head(run.stream)


@pytest.mark.parametrize(
    ("after", "log", "expected"),
    [
        pytest.param("7", "0.12,3.4", Cursor(7, {0: 12, 3: 4}), id="as it is sent"),
        pytest.param("", "", Cursor(), id="nothing"),
        pytest.param("-1", "0.-3", Cursor(), id="negative"),
        pytest.param("x", "a.b,,1", Cursor(), id="nonsense"),
        pytest.param("9" * 30, "0." + "9" * 30, Cursor(), id="beyond any number"),
        pytest.param("٣", "٣.٣", Cursor(), id="digits of another script"),
    ],
)
def test_a_cursor_that_makes_no_sense_counts_as_nothing_seen(
    after, log, expected
) -> None:
    assert frames.parse(after, log) == expected
