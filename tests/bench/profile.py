"""Where the time of a step goes, seen from inside a worker's process."""

import cProfile
import pstats
import re
import time
from typing import Any

from tests.bench.people import People
from tests.builders import a_worker, driven

SHOWN = 24
OURS = ("/execfabric/", "/orchestration/", "/approvals/", "/audit/", "/psycopg/")


def of_a_chain(who: People, text: str, chains: int) -> dict[str, Any]:
    """Return milliseconds and calls per step of the work loop on approved chains."""
    runs = who.propose(text, 2 * chains + 1)
    for run in runs:
        who.approve(run)
    worker = a_worker("bench-profile")
    try:
        driven(runs.pop(), worker)
        begun = time.perf_counter()
        for run in runs[:chains]:
            driven(run, worker)
        plain = time.perf_counter() - begun
        profiler = cProfile.Profile()
        profiler.enable()
        for run in runs[chains:]:
            driven(run, worker)
        profiler.disable()
    finally:
        worker.close()
    steps = sum(run.steps.count() for run in runs[chains:])
    return {
        "ms_per_step": plain * 1000 / steps,
        "ms_per_step_profiled": _total(profiler) * 1000 / steps,
        "functions": _functions(profiler, steps),
    }


def _total(profiler: cProfile.Profile) -> float:
    return float(pstats.Stats(profiler).total_tt)  # type: ignore[attr-defined]


def _functions(profiler: cProfile.Profile, steps: int) -> list[dict[str, Any]]:
    """Return the functions with the most total time and the most own time."""
    found = []
    stats = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
    for (path, line, name), (_, calls, own, below, _callers) in stats.items():
        found.append(
            {
                "function": _shown(path, line, name),
                "ours": any(part in path for part in OURS),
                "calls": calls / steps,
                "own_ms": own * 1000 / steps,
                "ms": below * 1000 / steps,
            }
        )
    deep = sorted((f for f in found if f["ours"]), key=lambda f: -f["ms"])[:SHOWN]
    flat = sorted(found, key=lambda f: -f["own_ms"])[:SHOWN]
    return [{"by": "below", **f} for f in deep] + [{"by": "own", **f} for f in flat]


def _shown(path: str, line: int, name: str) -> str:
    short = path.rsplit("/site-packages/", maxsplit=1)[-1]
    # What belongs to Python stands by its module, not by where it is on this machine.
    short = re.sub(r"^.*/lib/python3\.\d+/", "", short)
    for root in ("execfabric", "orchestration", "approvals", "audit", "tests"):
        if f"/{root}/" in short:
            short = root + "/" + short.split(f"/{root}/", 1)[1]
            break
    return f"{short}:{line} {name}" if line else name
