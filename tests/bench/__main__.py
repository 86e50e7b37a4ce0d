"""The benchmark as a program: `python -m tests.bench --help`."""

import argparse
import json
import os
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.chaos.stage import Stage, on_stage

LENGTH = 10
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
}


def main() -> None:
    """Measure, print the tables and, with --write, put them into the page."""
    arguments = _arguments()
    sizes = dict(QUICK if arguments.quick else FULL)
    sizes |= {name: value for name in sizes if (value := getattr(arguments, name))}
    env = {"EXECFABRIC_EXTRA_HANDLERS": "tests.bench.handlers"}
    with on_stage(durable=True, env=env) as stage:
        report = _measured(stage, sizes)
    page = import_module("tests.bench.page")
    print(page.measures(report))
    print(page.profile(report))
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=2), encoding="utf-8")
    if arguments.write:
        page.write(report)


def _measured(stage: Stage, sizes: dict[str, int]) -> dict[str, Any]:
    """Run all measures; worker and keeper are the product's, with its defaults."""
    # Models can be imported only now that Django is set up.
    measures, parts, plans, profile, rounds = (
        import_module(f"tests.bench.{name}")
        for name in ("measures", "parts", "plans", "profile", "rounds")
    )
    who = import_module("tests.bench.people").people()
    load = [os.getloadavg()[0]]
    throughput = rounds.paired(stage, who, sizes, length=LENGTH)
    chain, warm_up = plans.chain(LENGTH), sizes["warm_up"]
    lengths = {
        n: max(1, 300 // n) for n in (10, 100, 1_000, 10_000) if n <= sizes["longest"]
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
    load.append(os.getloadavg()[0])

    def spreads(found: dict[str, list[float]]) -> dict[str, Any]:
        return {name: measures.spread(values) for name, values in found.items()}

    return {
        "sizes": sizes | {"length": LENGTH},
        "cores": os.cpu_count(),
        "load": load,
        "throughput": throughput,
        "chain_ms": spreads(chains),
        "fan_ms": spreads(fans),
        "gate_ms": spreads(gates),
        "by_length": by_length,
        "open_gates": waiting,
        "profile": profile.of_a_chain(who, chain, sizes["warm_up"]),
    }


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
