"""The benchmark runs, in small, and leaves figures for every row of its page."""

import json
import os
import subprocess
import sys
from pathlib import Path

from execfabric.local.layout import PROJECT
from tests.session import NESTED

KINDS = {
    "Celery main",
    "pool",
    "runners",
    "Postgres backends",
    "Postgres auxiliaries",
    "Valkey",
}


def test_the_benchmark_measures_everything_it_says(tmp_path: Path):
    path = tmp_path / "report.json"
    command = [sys.executable, "-m", "tests.bench", "--quick", "--json", str(path)]
    env = {name: value for name, value in os.environ.items() if name != NESTED}

    done = subprocess.run(
        command, cwd=PROJECT, env=env, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr[-4000:]
    report = json.loads(path.read_text())
    through = report["throughput"]
    assert through["speed_ratio"] > 0
    assert through["cpu_ratio"] > 0
    assert set(through["governed"]["cpu_ms_by_kind"]) == KINDS
    assert through["governed"]["cpu_ms_by_kind"]["runners"] > 0
    assert through["bare"]["cpu_ms_by_kind"]["Postgres backends"] > 0
    assert through["governed"]["wal_bytes"] > through["bare"]["wal_bytes"]
    assert report["chain_ms"]["from_first_claim"]["p50"] > 0
    assert report["fan_ms"]["from_first_claim"]["p50"] > 0
    assert report["gate_ms"]["from_commit"]["p50"] > 0
    assert report["gate_ms"]["from_request"]["p50"] > 0
    assert report["by_length"]["10"]["cpu_ms"] > 0
    assert report["open_gates"]["gates"] == report["sizes"]["open_gates"]
    assert report["open_gates"]["running_steps"] == 0
    assert report["checks"]["100"]["layout"] > 0
    assert report["checks"]["100"]["check"] > report["checks"]["100"]["parse"] > 0
    for kind in ("10 items", "10 steps"):
        found = report["large"][kind]
        assert found["worker_mib_peak"] >= found["worker_mib_before"] > 0
        assert found["web_mib_peak"] >= found["web_mib_before"] > 0
        assert found["page_bytes"] > found["update_bytes"] > 0
    assert report["profile"]["functions"]
    assert "| CPU ms per step |" in done.stdout
