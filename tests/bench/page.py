"""The report as the tables of docs/performance.md."""

from typing import Any

from tests.docs import put_between_markers

PAGE = "docs/performance.md"
AIM_CHAIN_MS = 20
AIM_GATE_MS = 5


def table(report: dict[str, Any]) -> str:
    """The measures, one row each."""
    sizes, through = report["sizes"], report["throughput"]
    chain, gate = report["chain_ms"], report["gate_ms"]
    waiting = report["open_gates"]
    claim, commit = chain["from_first_claim"], gate["from_commit"]
    fan, load = report["fan_ms"], report["machine"]["load_after"][0]
    rows = [
        (
            f"{sizes['chains']} chains of {sizes['length']}, governed",
            f"{through['governed_median']:.0f} steps/s",
            _aim("at least the bare canvas", met=through["ratio"] >= 1),
        ),
        (
            "the same as a bare Celery canvas",
            f"{through['bare_median']:.0f} steps/s",
            f"the product reaches {through['ratio']:.2f} times this",
        ),
        (
            f"one chain of {sizes['length']}, from the first claim to its end",
            _spread(claim),
            _aim(f"at most {AIM_CHAIN_MS} ms", met=claim["p50"] <= AIM_CHAIN_MS),
        ),
        ("the same from the operator's answer", _spread(chain["from_approval"]), ""),
        (f"1 → {sizes['width']} → 1 under `parallel`", _spread(fan), ""),
        (
            "gate to first instruction, from the commit",
            _spread(commit),
            _aim(f"at most {AIM_GATE_MS} ms", met=commit["p50"] <= AIM_GATE_MS),
        ),
        ("the same from the operator's answer", _spread(gate["from_decision"]), ""),
        (
            f"{waiting['gates']} open gates: memory of the worker",
            _change(waiting, "worker_mib", "MiB"),
            f"steps held by a process: {waiting['running_steps']}",
        ),
        ("the same: the database", _change(waiting, "database_mib", "MiB"), ""),
        ("the same: one sweep of the keeper", _change(waiting, "sweep_ms", "ms"), ""),
        ("the same: one chain of 10 beside", _change(waiting, "chain_ms", "ms"), ""),
    ]
    lines = ["| Measure | Figure | Aim |", "| --- | --- | --- |"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    note = (
        f"Throughput is the median of {sizes['rounds']} rounds, both kinds by turns;"
        f" latencies are p50 / p99 of {sizes['latencies']} chains, {sizes['fans']} fans"
        f" and {sizes['gates']} gates. {report['machine']['cores']} cores, load"
        f" {load:.1f} at the end."
    )
    return "\n".join([*lines, "", note])


def reading(report: dict[str, Any]) -> str:
    """The profile of the work loop as two tables."""
    found = report["profile"]
    lines = [_alone(found)]
    for by, title in (("below", "With what they call"), ("own", "By themselves")):
        column = "ms" if by == "below" else "own_ms"
        lines += [
            "",
            f"| {title} | calls per step | ms per step |",
            "| --- | --- | --- |",
        ]
        lines += [
            f"| `{one['function']}` | {one['calls']:.1f} | {one[column]:.3f} |"
            for one in found["functions"]
            if one["by"] == by
        ]
    return "\n".join(lines)


def write(report: dict[str, Any]) -> None:
    """Put both into the page."""
    put_between_markers(PAGE, "measures", table(report))
    put_between_markers(PAGE, "profile", reading(report))


def _alone(found: dict[str, Any]) -> str:
    return (
        f"One process alone needs {found['ms_per_step']:.2f} ms per step"
        f" ({found['ms_per_step_profiled']:.2f} ms under the profiler, which makes"
        " calls dearer than waits)."
    )


def _aim(text: str, *, met: bool) -> str:
    return f"{text}: {'reached' if met else 'missed'}"


def _spread(figures: dict[str, float]) -> str:
    return f"{figures['p50']:.1f} / {figures['p99']:.1f} ms"


def _change(figures: dict[str, float], name: str, unit: str) -> str:
    before, after = figures[f"{name}_before"], figures[f"{name}_after"]
    return f"{before:.1f} → {after:.1f} {unit}"
