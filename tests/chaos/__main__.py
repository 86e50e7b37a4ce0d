"""The chaos test as a program: `python -m tests.chaos --help`."""

import argparse
import json
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.chaos.stage import on_stage

LEASE_S = 3
DISK_MB = 64
"""The disk of the artifacts, besides one for each run."""
MOST_NEVER_RECEIVED = 2.0
"""Per cent of the unknown outcomes whose handler never was called."""


def main() -> int:
    """Run once per seed; return 1 when anything does not hold."""
    told = _arguments()
    # Not to die at once: the servers and the workers have to be ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    reports = [_once(told, seed) for seed in told.seeds]
    text = json.dumps(reports, indent=2)
    print(text)
    if told.json:
        told.json.write_text(text, encoding="utf-8")
    if told.write:
        import_module("tests.chaos.page").write(reports)
    return int(not all(map(_holds, reports)))


def _holds(report: dict[str, Any]) -> bool:
    unknown = report["unknown_outcomes"]
    few = unknown["percent_never_received"] <= MOST_NEVER_RECEIVED
    return few and not any(report["violations"].values())


def _once(told: argparse.Namespace, seed: int) -> dict[str, Any]:
    env = {
        "EXECFABRIC_LEASE_SECONDS": str(LEASE_S),
        "EXECFABRIC_HINT_AGAIN_SECONDS": "1",
        "EXECFABRIC_EXTRA_HANDLERS": "tests.chaos.handlers",
        "EXECFABRIC_MAX_ARTIFACT_BYTES": "1000000",
        "EXECFABRIC_MIN_FREE_MB": "8",
    }
    disk_mb = DISK_MB + told.runs if told.disk else 0
    with on_stage(durable=False, env=env, disk_mb=disk_mb) as stage:
        # Models can be imported only now that Django is set up.
        drive = import_module("tests.chaos.drive")
        wanted = drive.Wanted(
            runs=told.runs,
            seed=seed,
            workers=told.workers,
            concurrency=told.concurrency,
            keepers=told.keepers,
            web=told.web,
            shifts=told.shifts,
            at_once=told.at_once,
            trials=told.trials,
            faults_s=told.faults,
            settle_s=told.settle,
        )
        report: dict[str, Any] = drive.Drive(stage, wanted, LEASE_S).run()
        return report


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos")
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--seeds", "--seed", type=int, nargs="+", default=[1])
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--keepers", type=int, default=2)
    parser.add_argument("--web", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--shifts", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--disk", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--concurrency", type=int, default=2)
    parser.add_argument("--at-once", type=int, default=20)
    parser.add_argument("--faults", type=float, default=1e9, help="seconds at most")
    parser.add_argument("--trials", type=int, default=10, help="of one fault alone")
    parser.add_argument("--settle", type=float, default=180, help="seconds at most")
    parser.add_argument("--json", type=Path, help="write the report there")
    parser.add_argument("--write", action="store_true", help="into docs/reliability.md")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
