"""A list of 200 items on two workers, which are killed and replaced at random."""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from execfabric.local.layout import PROJECT
from tests.chaos.fan_out import ITEMS
from tests.session import NESTED


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("chaos") / "report.json"
    command = [sys.executable, "-m", "tests.chaos.fan_out", str(path), "7"]
    env = {name: value for name, value in os.environ.items() if name != NESTED}
    done = subprocess.run(
        command, cwd=PROJECT, env=env, capture_output=True, text=True, check=False
    )
    if not path.exists():
        pytest.fail(f"the test did not end by itself:\n{done.stderr[-4000:]}")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_workers_were_killed_during_steps(report):
    assert report["kills"] >= 3
    assert report["lost_attempts"] >= 1


def test_all_items_have_the_same_output_as_without_faults(report):
    assert (report["state"], report["reason"]) == ("succeeded", "")
    assert report["output"] == {
        "items": [{"mark": f"item-{number}"} for number in range(ITEMS)],
        "count": ITEMS,
        "succeeded": ITEMS,
        "failed": [],
    }


def test_no_item_is_doubled(report):
    assert report["items"] == [*range(ITEMS)]
    assert report["successes_per_item"] == [1] * ITEMS
    # A call that is repeated has the idempotency key of the first one.
    assert report["effects_per_item"] == [1] * ITEMS


def test_the_record_of_the_run_is_whole(report):
    assert report["differences"] == []
    assert not report["broken"]
