"""The benchmark as a program: `python -m tests.bench --help`."""

import argparse
import json
from importlib import import_module
from pathlib import Path

from tests.chaos.stage import on_stage

FULL = {
    "rounds": 3,
    "chains": 200,
    "length": 10,
    "latencies": 100,
    "width": 100,
    "fans": 5,
    "gates": 200,
    "open_gates": 10_000,
}
QUICK = {
    "rounds": 1,
    "chains": 5,
    "length": 10,
    "latencies": 3,
    "width": 10,
    "fans": 1,
    "gates": 3,
    "open_gates": 20,
}


def main() -> None:
    """Measure, print the page's table and, where wanted, write it."""
    told = _arguments()
    sizes = dict(QUICK if told.quick else FULL)
    sizes |= {name: value for name in sizes if (value := getattr(told, name))}
    env = {"EXECFABRIC_EXTRA_HANDLERS": "tests.bench.handlers"}
    with on_stage(durable=True, env=env) as stage:
        # Models can be imported only now that Django is set up.
        drive = import_module("tests.bench.drive")
        report = drive.run(stage, drive.Sizes(**sizes))
    page = import_module("tests.bench.page")
    print(page.table(report))
    print(page.reading(report))
    if told.json:
        told.json.write_text(json.dumps(report, indent=2), encoding="utf-8")
    if told.write:
        page.write(report)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    for name in FULL:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int)
    parser.add_argument("--json", type=Path, help="write all figures there")
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
