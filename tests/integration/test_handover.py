"""What a worker process notes is there after its death, and proves what never began."""

import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from execfabric.local.layout import PROJECT
from orchestration.runs.worker import handover
from orchestration.runs.worker.handover import HandoverNotes
from orchestration.skills.execution import discard

FIRST, NEXT = "a1" * 8, "b2" * 8
PROGRAM = """
import os, signal, sys
from pathlib import Path
from orchestration.runs.worker import handover
from orchestration.runs.worker.handover import HandoverNotes
notes = HandoverNotes(handover.new_home(Path(sys.argv[1])))
for word in sys.argv[2:]:
    what, _, session = word.partition(":")
    if what == "claiming":
        notes.claiming(session)
    else:  # as the runner does
        note = notes.of_begin(session)
        os.pwrite(note.fd, note.text.encode(), note.at)
os.kill(os.getpid(), signal.SIGKILL)
"""
Dies = Callable[..., list[str]]


@pytest.fixture
def dies(tmp_path: Path) -> Dies:
    """Return what is proven about a killed process with these notes."""

    def program(*notes: str) -> list[str]:
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / "workers"), *notes]
        subprocess.run(command, cwd=PROJECT, check=False)
        return [one.session for one in handover.dead_workers(tmp_path / "workers")]

    return program


@pytest.mark.parametrize(
    ("notes", "proven"),
    [
        ([], ""),
        ([f"claiming:{FIRST}"], FIRST),
        ([f"claiming:{FIRST}", f"begun:{FIRST}"], ""),
        ([f"claiming:{FIRST}", f"begun:{FIRST}", f"claiming:{NEXT}"], NEXT),
    ],
)
def test_a_claim_that_was_not_begun_is_proven_by_a_dead_process(dies, notes, proven):
    assert dies(*notes) == [proven]


def test_nothing_is_proven_by_notes_from_before_the_host_started_again(
    dies, tmp_path, monkeypatch
):
    other = tmp_path / "boot_id"
    other.write_text("c5a9d3a2-0b86-4f7c-9a4f-7d8b7c1e2f30\n")
    dies(f"claiming:{FIRST}")

    monkeypatch.setattr(handover, "BOOT_ID", other)

    assert [one.session for one in handover.dead_workers(tmp_path / "workers")] == [""]


def test_a_process_that_lives_is_left_alone(tmp_path):
    parent = tmp_path / "workers"
    notes = HandoverNotes(handover.new_home(parent))
    notes.claiming(FIRST)

    assert not [*handover.dead_workers(parent)]

    notes.close()
    [one] = handover.dead_workers(parent)
    discard(one.home)
    assert not [*parent.iterdir()]


def test_a_folder_that_others_may_change_is_refused_and_proves_nothing(dies, tmp_path):
    dies(f"claiming:{FIRST}")
    (tmp_path / "workers").chmod(0o777)

    with pytest.raises(ImproperlyConfigured, match="EXECFABRIC_WORKER_DIR"):
        handover.new_home(tmp_path / "workers")
    assert not [*handover.dead_workers(tmp_path / "workers")]


def test_the_programs_of_a_worker_that_is_root_can_pass_through(tmp_path):
    home = handover.new_home(tmp_path / "workers")

    assert home.parent.stat().st_mode & stat.S_IXOTH
    assert not home.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
