"""A list of 200 items while workers are killed: `python -m tests.chaos.fan_out`."""

import json
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Container
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.chaos.stage import Stage, on_stage

ITEMS = 200
WORKERS, CONCURRENCY = 2, 2
KILLS = 5
"""Each in a part of the list of its own, so a slow start of workers loses none."""
AT_MOST_S = 240.0
LEASE_S = 3


def main(path: Path, seed: int) -> None:
    """Write what happened to the run into a file."""
    env = {
        "EXECFABRIC_LEASE_SECONDS": str(LEASE_S),
        "EXECFABRIC_HINT_AGAIN_SECONDS": "1",
        "EXECFABRIC_EXTRA_HANDLERS": "tests.chaos.handlers",
    }
    with on_stage(durable=False, env=env) as stage:
        report = _report(stage, random.Random(seed))
    path.write_text(json.dumps(report, indent=2), encoding="utf-8")


def _report(stage: Stage, rng: random.Random) -> dict[str, Any]:
    # Models can be imported only now that Django is set up.
    drive = import_module("tests.chaos.drive")
    crews = import_module("tests.chaos.crew")
    builders = import_module("tests.builders")
    drive.ensure_roles(by=drive.system("test"), at=drive.clock.now())
    proposer = drive.person("proposer", drive.Role.PROPOSER)
    operator = drive.person("operator", drive.Role.OPERATOR)
    crew = crews.Crew(stage, WORKERS, CONCURRENCY)
    try:
        crew.start()
        run = builders.proposed(_plan(builders), proposer)
        builders.decided(builders.open_gate(run), operator)
        kills = _killed(crew, run, rng, drive.FINAL_RUN)
    finally:
        crew.stop()
    return {"kills": kills} | _facts(run, stage, drive.Attempt.objects)


def _plan(builders: Any) -> str:
    each = builders.step(
        "each",
        "again",
        skill="chaos",
        forEach=[f"item-{number}" for number in range(ITEMS)],
        params={"mark": "$item", "effect": True, "before": 0.05, "after": 0.05},
    )
    text: str = builders.plan(each, id="chaos-items", parallel={"max": 8})
    return text


def _killed(crew: Any, run: Any, rng: random.Random, final: Container[str]) -> int:
    """Kill workers until the run has ended; return how many."""
    part = ITEMS // (KILLS + 1)
    at_items = [part * kill + rng.randrange(part) for kill in range(KILLS)]
    kills = 0
    ends_at = time.monotonic() + AT_MOST_S
    while run.state not in final and time.monotonic() < ends_at:
        ended = run.steps.filter(item__isnull=False, state="succeeded").count()
        if kills < KILLS and ended >= at_items[kills] and (ready := crew.ready()):
            crew.kill_worker(rng.choice(ready))
            kills += 1
        time.sleep(0.1)
        run.refresh_from_db()
    return kills


def _facts(run: Any, stage: Stage, attempts: Any) -> dict[str, Any]:
    streams = import_module("orchestration.trace.services.streams")
    keys = defaultdict(set)
    for line in stage.witness.read_text().splitlines():
        mark, key = line.split()
        keys[mark].add(key)
    items = run.steps.filter(key="each", item__isnull=False).order_by("item")
    done = Counter(attempts.filter(phase="done").values_list("step_run", flat=True))
    verified = streams.verify_stream(run.stream)
    return {
        "lost_attempts": attempts.filter(phase="lost").count(),
        "state": run.state,
        "reason": run.reason,
        "output": run.steps.get(key="each", item=None).output,
        "items": [item.item for item in items],
        "effects_per_item": [len(keys[f"item-{number}"]) for number in range(ITEMS)],
        "successes_per_item": [done[item.pk] for item in items],
        "differences": [str(one) for one in verified.differences],
        "broken": verified.broken is not None,
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
