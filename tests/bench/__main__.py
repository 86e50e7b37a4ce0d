"""The benchmark as a program: `python -m tests.bench --help`."""

import argparse
import json
import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.chaos.stage import Stage, on_stage

LENGTH = 10
PARTS = ("measures", "large", "checks", "profile")
"""What can be measured alone; each has a place of its own on the page."""
FULL = {
    "processes": 2,
    "warm_up": 20,
    "rounds": 7,
    "chains": 200,
    "latencies": 100,
    "width": 100,
    "fans": 7,
    "gates": 100,
    "open_gates": 10_000,
    "longest": 10_000,
    "steps_per_length": 300,
    "largest_plan": 10_000,
    "largest_run": 1_000,
}
QUICK = {
    "processes": 2,
    "warm_up": 1,
    "rounds": 1,
    "chains": 3,
    "latencies": 2,
    "width": 4,
    "fans": 1,
    "gates": 2,
    "open_gates": 4,
    "longest": 10,
    "steps_per_length": 20,
    "largest_plan": 100,
    "largest_run": 10,
}


def main() -> None:
    """Measure, print the tables and, with --write, put them into the page."""
    arguments = _arguments()
    sizes = dict(QUICK if arguments.quick else FULL)
    sizes |= {name: value for name in sizes if (value := getattr(arguments, name))}
    env = {"EXECFABRIC_EXTRA_HANDLERS": "tests.bench.handlers"}
    with on_stage(durable=True, env=env) as stage:
        report = _measured(stage, sizes, arguments.only or PARTS)
    page = import_module("tests.bench.page")
    for text in page.tables(report).values():
        print(text)
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2), encoding="utf-8")
    if arguments.write:
        page.write(report)


def _measured(
    stage: Stage, sizes: dict[str, int], wanted: Sequence[str]
) -> dict[str, Any]:
    """Run the wanted measures; worker and keeper are the product's, with its defaults."""
    # Models can be imported only now that Django is set up.
    graphs, large, plans, profile = (
        import_module(f"tests.bench.{name}")
        for name in ("graphs", "large", "plans", "profile")
    )
    who = import_module("tests.bench.people").people()
    report: dict[str, Any] = {
        "sizes": sizes | {"length": LENGTH},
        "cores": os.cpu_count(),
        "load": [os.getloadavg()[0]],
    }
    if "measures" in wanted:
        report |= _of_small_runs(stage, who, sizes)
    if "large" in wanted:
        largest = sizes["largest_run"]
        lengths = sorted({max(10, largest // 10), largest})
        report["large"] = large.by_kind(stage, who, sizes["processes"], lengths)
    if "checks" in wanted:
        up_to = sizes["largest_plan"]
        report["checks"] = graphs.by_size(
            who.proposer.actor(), [n for n in (100, 1_000, 10_000) if n <= up_to]
        )
    report["load"].append(os.getloadavg()[0])
    if "profile" in wanted:
        chain = plans.chain(LENGTH)
        report["profile"] = profile.of_a_chain(who, chain, sizes["warm_up"])
    return report


def _of_small_runs(stage: Stage, who: Any, sizes: dict[str, int]) -> dict[str, Any]:
    """Measure throughput, latencies, lengths and open gates."""
    measures, parts, plans, rounds = (
        import_module(f"tests.bench.{name}")
        for name in ("measures", "parts", "plans", "rounds")
    )
    throughput = rounds.paired(stage, who, sizes, length=LENGTH)
    chain, warm_up = plans.chain(LENGTH), sizes["warm_up"]
    per_length = sizes["steps_per_length"]
    lengths = {
        n: max(1, per_length // n)
        for n in (10, 100, 1_000, 10_000)
        if n <= sizes["longest"]
    }
    with (
        parts.keeper(stage.env),
        parts.worker(stage.env, sizes["processes"]) as worker,
    ):
        measures.latencies(stage, who, chain, warm_up)
        chains = measures.latencies(stage, who, chain, sizes["latencies"])
        fan = plans.fan(sizes["width"])
        measures.latencies(stage, who, fan, 1)
        fans = measures.latencies(stage, who, fan, sizes["fans"])
        gates = measures.gate_to_start(stage, who, sizes["gates"], warm_up)
        by_length = measures.by_length(stage, who, worker, lengths)
        waiting = measures.open_gates(stage, who, worker, sizes["open_gates"])

    def spreads(found: dict[str, list[float]]) -> dict[str, Any]:
        return {name: measures.spread(values) for name, values in found.items()}

    return {
        "throughput": throughput,
        "chain_ms": spreads(chains),
        "fan_ms": spreads(fans),
        "gate_ms": spreads(gates),
        "by_length": by_length,
        "open_gates": waiting,
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="measure only these")
    for name in FULL:
        parser.add_argument(f"--{name.replace('_', '-')}", type=int)
    parser.add_argument("--json", type=Path, help="write all figures there")
    parser.add_argument("--write", action="store_true", help="into docs/performance.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
