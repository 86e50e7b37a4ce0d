"""A step's log: head and tail stored, the rest counted, whatever goes wrong meanwhile."""

import threading
import time
from datetime import timedelta

import pytest
from django.db import OperationalError, connection, transaction

from execfabric.lib import clock
from execfabric.lib.ids import span_id
from orchestration.runs.domain.results import Finished
from orchestration.runs.engine import attempts
from orchestration.runs.engine.attempts import Lease
from orchestration.runs.models import LogChunk, Run, StepRun
from orchestration.runs.pages import logs
from orchestration.runs.worker import outage, step_log, work
from orchestration.runs.worker.monitor import AttemptMonitor
from orchestration.runs.worker.step_log import HEAD, PIECE, TAIL, StepLog
from orchestration.trace.services import streams
from tests.builders import approved, driven, plan, step

LINES = [f"line {number:>6} {'.' * 80}\n" for number in range(20_000)]
"""1.9 MB."""


@pytest.fixture
def run(registry, proposer, operator) -> Run:
    return approved(plan(step("first")), proposer, operator)


def row_of(run: Run, *, fence: int) -> StepRun:
    row = run.steps.get(key="first")
    lease = clock.now() + timedelta(minutes=1)
    running = {"state": "running", "lease_until": lease, "fence": fence}
    StepRun.objects.filter(pk=row.pk).update(**running)
    return row


def log_of(row: StepRun, *, fence: int) -> StepLog:
    return StepLog(run_id=row.run_id, step_run_id=row.pk, fence=fence)


def stored(row: StepRun) -> str:
    return "".join(logs.pieces(row.pk))


@pytest.mark.parametrize("per_write", [1, 300, 20_000])
def test_of_a_long_log_the_head_and_the_tail_are_stored(run, per_write) -> None:
    row = row_of(run, fence=1)
    log = log_of(row, fence=1)
    whole = "".join(LINES)

    for number, line in enumerate(LINES):
        log.add(line)
        if number % max(per_write, 300) == 0:
            log._write()
    log.close()

    text = stored(row)
    assert text.startswith(whole[:HEAD])
    assert text.endswith(whole[-TAIL:])
    sizes = [len(chunk.text) for chunk in LogChunk.objects.filter(step_run=row)]
    assert sum(sizes) <= HEAD + TAIL + 2 * PIECE
    [note] = [line for line in text.splitlines() if "were not stored" in line]
    head, tail = text.split(f"\n{note}\n")
    missing = len(whole) - len(head) - len(tail)
    lines = len(LINES) - head.count("\n") - tail.count("\n")
    assert note == f"[{lines:,} lines, {missing:,} characters were not stored]"


def test_a_flood_is_held_in_bounded_memory(run) -> None:
    window = step_log.Window()

    for _ in range(500):
        window.add("x" * PIECE)

    held = sum(len(piece.text) for piece in window.take())
    assert held <= HEAD + TAIL + PIECE
    assert window.end == 500 * PIECE


def test_an_attempt_that_lost_its_lease_writes_nothing_more(run) -> None:
    row = row_of(run, fence=1)
    old, new = log_of(row, fence=1), log_of(row, fence=2)
    old.add("old\n")
    old._write()
    StepRun.objects.filter(pk=row.pk).update(fence=2)

    new.add("new\n")
    new._write()
    old.add("too late\n")
    old.close()
    new.add("newer\n")
    new.close()

    assert stored(row) == "old\nnew\nnewer\n"


def test_two_attempts_that_write_at_one_place_both_keep_their_text(run) -> None:
    row = row_of(run, fence=2)
    log = log_of(row, fence=2)
    log.add("first\n")
    log._write()
    LogChunk.objects.create(
        step_run=row, fence=1, offset=6, line=1, text="stray\n", at=run.created_at
    )

    log.add("second\n")
    log.close()

    assert stored(row) == "first\nstray\nsecond\n"
    assert list(LogChunk.objects.values_list("line", flat=True)) == [0, 1, 2]


@pytest.mark.parametrize("is_stored", [True, False])
def test_a_write_whose_answer_is_lost_is_stored_once(run, monkeypatch, is_stored):
    row = row_of(run, fence=1)
    log = log_of(row, fence=1)
    log.add("before\n")
    log._write()
    store = StepLog._store
    monkeypatch.setattr(step_log.connection, "close", lambda: None)

    def lossy(self: StepLog, *, is_repeated: bool) -> None:
        monkeypatch.setattr(StepLog, "_store", store)
        if is_stored:
            store(self, is_repeated=is_repeated)
        raise OperationalError("the connection was lost")

    monkeypatch.setattr(StepLog, "_store", lossy)
    log.add("once\n")
    log._write()
    log.add("after\n")
    log.close()

    assert stored(row) == "before\nonce\nafter\n"


@pytest.mark.django_db(transaction=True)
def test_a_late_write_is_stored_before_the_end_is_recorded(run, monkeypatch, worker):
    """The connection broke during a commit, which the server then carried out."""
    monkeypatch.setattr(outage, "MAX_PAUSE_S", 0.01)
    claim = {"worker": worker.name, "session": span_id(), "at": clock.now()}
    lease = attempts.claim(step_run_id=run.steps.get(key="first").pk, **claim)
    assert lease is not None
    monitor = AttemptMonitor(lease, since=clock.since_boot())
    is_written, may_end = threading.Event(), threading.Event()
    thread = threading.Thread(target=commits_late, args=(lease, is_written, may_end))
    thread.start()
    is_written.wait()
    with monkeypatch.context() as broken:
        broken.setattr(StepLog, "_store", unreachable)
        monitor.log.add("late\n")
        monitor.log.close()
        broken.setattr(StepLog, "_write", lambda _: may_end.set())
        worker.is_ending = True
        work._complete(monitor, Finished({"echo": "first"}, {}), worker)
    thread.join()

    assert stored(run.steps.get()) == "late\n"
    assert run.steps.get().state == "succeeded"
    result = streams.verify_stream(run.stream)
    assert [*result.differences] == []


def unreachable(self: StepLog, *, is_repeated: bool) -> None:
    raise OperationalError("the connection was lost")


def commits_late(
    lease: Lease, is_written: threading.Event, may_end: threading.Event
) -> None:
    log = StepLog(run_id=lease.run_id, step_run_id=lease.step_run_id, fence=lease.fence)
    log.add("late\n")
    log._sending = log._window.take()
    with transaction.atomic():
        log._store(is_repeated=False)
        is_written.set()
        may_end.wait(2)
        time.sleep(0.3)
    connection.close()


def test_the_last_line_of_a_flood_is_on_the_page_and_in_the_download(
    registry, proposer, operator, worker
) -> None:
    flood = plan(step("first", "misbehave", params={"how": "flood"}))

    run = driven(approved(flood, proposer, operator), worker)

    row = run.steps.get(key="first")
    shown = logs.view_of(row.pk)
    assert run.state == "succeeded"
    assert shown.end == 4000 * 1201
    assert shown.tail.endswith("flood \n")
    assert shown.gap is not None
    assert shown.head.count("\n") + shown.tail.count("\n") + shown.gap.lines == 4000
