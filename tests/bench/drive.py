"""The benchmark on its stage: everything once, with the figures as one report."""

import os
from statistics import median
from typing import Any

import psycopg

from tests.bench import bare, measures, parts, plans, profile
from tests.bench.measures import Sizes, spread
from tests.chaos.stage import Stage


def run(stage: Stage, sizes: Sizes) -> dict[str, Any]:
    """All measures; the worker and the keeper are the product's, with its defaults."""
    with psycopg.connect(stage.endpoints.database_url, autocommit=True) as database:
        _make_table(stage, database)
    bare.app.conf.update(broker_url=stage.endpoints.redis_url)
    who = measures.people()
    load_before = os.getloadavg()
    with parts.keeper(stage.env):
        throughput = _throughput(stage, who, sizes)
        with parts.worker(stage.env) as worker:
            measures.latencies(stage, who, plans.chain(sizes.length), 3)
            chains = measures.latencies(
                stage, who, plans.chain(sizes.length), sizes.latencies
            )
            fans = measures.latencies(stage, who, plans.fan(sizes.width), sizes.fans)
            gates = measures.gate_to_start(stage, who, sizes.gates)
            waiting = measures.open_gates(stage, who, worker, sizes)
    return {
        "sizes": vars(sizes),
        "machine": {
            "cores": os.cpu_count(),
            "load_before": load_before,
            "load_after": os.getloadavg(),
        },
        "throughput": throughput,
        "chain_ms": {name: spread(values) for name, values in chains.items()},
        "fan_ms": spread(fans["from_approval"]),
        "gate_ms": {name: spread(values) for name, values in gates.items()},
        "open_gates": waiting,
        "profile": profile.of_a_chain(who, plans.chain(sizes.length)),
    }


def _throughput(stage: Stage, who: measures.People, sizes: Sizes) -> dict[str, Any]:
    """Both by turns, so that a noisy moment hits both."""
    governed, plain = [], []
    for _ in range(sizes.rounds):
        plain.append(measures.bare_throughput(stage, sizes))
        governed.append(measures.governed_throughput(stage, who, sizes))
    return {
        "governed": governed,
        "bare": plain,
        "governed_median": median(governed),
        "bare_median": median(plain),
        "ratio": median(governed) / median(plain),
    }


def _make_table(stage: Stage, database: psycopg.Connection[Any]) -> None:
    """The bare canvas's table, which the application's role may write."""
    with psycopg.connect(stage.endpoints.owner_database_url, autocommit=True) as owner:
        owner.execute(bare.TABLE)
        row = database.execute("SELECT current_user").fetchone()
        owner.execute(f'GRANT ALL ON bare_step TO "{row[0] if row else ""}"')
