"""The report as the tables of docs/performance.md."""

from typing import Any

from tests.documents import put_between_markers

PAGE = "docs/performance.md"
AIM_CHAIN_MS = 15
AIM_GATE_MS = 5
AIM_CLICK_MS = 12
AIM_FAN_MS = 200
FLAT = 1.1
"""How much dearer a step of a run of 1,000 may be than one of a run of 10."""


def measures(report: dict[str, Any]) -> str:
    """Return the tables of all measures."""
    tables = (_compared(report), _single(report), _lengths(report), _waiting(report))
    return "\n\n".join((*tables, _note(report)))


def profile(report: dict[str, Any]) -> str:
    """Return the profile of the work loop as two tables."""
    found = report["profile"]
    alone = (
        f"One process alone needs {found['ms_per_step']:.2f} ms per step"
        f" ({found['ms_per_step_profiled']:.2f} ms under the profiler, which makes"
        " calls dearer than waits)."
    )
    parts = [alone]
    for by, title in (("below", "Function, with what it calls"), ("own", "By itself")):
        column = "ms" if by == "below" else "own_ms"
        rows = [
            (f"`{one['function']}`", f"{one['calls']:.1f}", f"{one[column]:.3f}")
            for one in found["functions"]
            if one["by"] == by
        ]
        parts.append(_table((title, "calls per step", "ms per step"), rows))
    return "\n\n".join(parts)


def write(report: dict[str, Any]) -> None:
    """Put both into the page."""
    put_between_markers(PAGE, "measures", measures(report))
    put_between_markers(PAGE, "profile", profile(report))


def _compared(report: dict[str, Any]) -> str:
    """Product and bare canvas, with the ratios that are aimed at."""
    found = report["throughput"]
    ours, theirs = found["governed"], found["bare"]
    speed, cpu = found["speed_ratio"], found["cpu_ratio"]
    rows = [
        (
            "steps/s",
            *(
                f"{one['steps_per_s']:.0f} ({one['slowest']:.0f}-{one['fastest']:.0f})"
                for one in (ours, theirs)
            ),
            f"{speed:.2f}",
            _aim("at least 1.0", met=speed >= 1),
        ),
        (
            "CPU ms per step",
            *(
                f"{one['cpu_ms']:.2f} ({one['cpu_ms_low']:.2f}-{one['cpu_ms_high']:.2f})"
                for one in (ours, theirs)
            ),
            f"{cpu:.2f}",
            _aim("at most 1.0", met=cpu <= 1),
        ),
    ]
    for kind, ms in ours["cpu_ms_by_kind"].items():
        other = theirs["cpu_ms_by_kind"].get(kind, 0)
        rows.append((f"- {kind}", f"{ms:.2f}", f"{other:.2f}", "", ""))
    wal = [one["wal_bytes"] for one in (ours, theirs)]
    rows.append(("WAL bytes per step", *(f"{one:.0f}" for one in wal), "", ""))
    return _table(("measure", "governed", "bare canvas", "ratio", "aim"), rows)


def _single(report: dict[str, Any]) -> str:
    """Latencies with their aims."""
    chain, fan, gate = report["chain_ms"], report["fan_ms"], report["gate_ms"]
    sizes = report["sizes"]
    rows = [
        _timed(
            f"one chain of {sizes['length']}, from the first claim to its end",
            chain["from_first_claim"],
            AIM_CHAIN_MS,
        ),
        _timed("the same from the operator's decision", chain["from_approval"]),
        _timed(
            f"1 → {sizes['width']} → 1 under `parallel`, from the first claim",
            fan["from_first_claim"],
            AIM_FAN_MS,
        ),
        _timed("the same from the operator's decision", fan["from_approval"]),
        _timed(
            "gate to first instruction, from the commit",
            gate["from_commit"],
            AIM_GATE_MS,
        ),
        _timed("the same from the call of the service", gate["from_service"]),
        _timed(
            "the same from the HTTP request to the web server",
            gate["from_request"],
            AIM_CLICK_MS,
        ),
    ]
    return _table(("latency", "p50", "p99", "aim"), rows)


def _lengths(report: dict[str, Any]) -> str:
    """Measure the cost of a step by the length of its run."""
    found = {int(length): one for length, one in report["by_length"].items()}
    first = min(found)
    rows = []
    for length, one in found.items():
        ratio = one["cpu_ms"] / found[first]["cpu_ms"]
        is_aim = first < length <= 1_000
        aim = _aim(f"at most {FLAT}", met=ratio <= FLAT) if is_aim else ""
        figures = (f"{one['ms']:.2f}", f"{one['cpu_ms']:.2f}", f"{ratio:.2f}")
        rows.append((f"{length:,}", *figures, aim))
    header = ("steps in the run", "ms per step", "CPU ms per step", "ratio", "aim")
    return _table(header, rows)


def _waiting(report: dict[str, Any]) -> str:
    """Measure the cost of open gates."""
    found = report["open_gates"]
    rows = [
        ("memory of the worker", _change(found, "worker_mib", "MiB")),
        ("one sweep of the keeper", _change(found, "sweep_ms", "ms")),
        ("one chain of 10 beside", _change(found, "chain_ms", "ms")),
        ("steps held by a process", str(found["running_steps"])),
    ]
    return _table((f"{found['gates']:,} open gates", "before → after"), rows)


def _note(report: dict[str, Any]) -> str:
    sizes = report["sizes"]
    before, after = report["load"]
    return (
        f"Medians of {sizes['rounds']} paired rounds of {sizes['chains']} chains of"
        f" {sizes['length']} (range in parentheses; ratios are medians of the paired"
        f" ratios), {sizes['processes']} worker processes on each side,"
        f" {report['cores']} cores, load {before:.1f} before and {after:.1f} after."
        f" Latencies: {sizes['latencies']} chains, {sizes['fans']} fans,"
        f" {sizes['gates']} gates."
    )


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _timed(
    name: str, figures: dict[str, float], aim: int | None = None
) -> tuple[str, ...]:
    met = "" if aim is None else _aim(f"at most {aim} ms", met=figures["p50"] <= aim)
    return (name, f"{figures['p50']:.1f} ms", f"{figures['p99']:.1f} ms", met)


def _aim(text: str, *, met: bool) -> str:
    return f"{text}: {'reached' if met else '**missed**'}"


def _change(figures: dict[str, float], name: str, unit: str) -> str:
    before, after = figures[f"{name}_before"], figures[f"{name}_after"]
    return f"{before:.1f} → {after:.1f} {unit}"
