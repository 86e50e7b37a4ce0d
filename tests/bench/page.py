"""The report as the tables of docs/performance.md."""

from typing import Any

from tests.documents import put_between_markers

PAGE = "docs/performance.md"
AIM_CHAIN_MS = 15
AIM_GATE_MS = 5
AIM_CLICK_MS = 12
AIM_FAN_MS = 200
AIM_PAGE_MS = 2_000
AIM_CHECK_MS = {1_000: 150, 10_000: 2_000}
"""Milliseconds to check and lay out a plan, by its number of steps."""
FLAT = 1.1
"""How much dearer a step of a run of 1,000 may be than one of a run of 10."""


def measures(report: dict[str, Any]) -> str:
    """Return the tables of all measures."""
    tables = (_compared(report), _single(report), _lengths(report), _waiting(report))
    return "\n\n".join((*tables, _note(report)))


def large(report: dict[str, Any]) -> str:
    """Return the table of large runs: their costs, and what their pages cost."""
    rows = []
    for name, one in report["large"].items():
        ratio = one["late_ms"] / one["early_ms"]
        slowest = max(one["page_ms"], one["graph_ms"])
        rows.append(
            (
                name,
                f"{one['seconds']:.1f} s",
                f"{one['early_ms']:.2f} → {one['late_ms']:.2f} ({ratio:.2f})",
                *(
                    f"{one[f'{part}_mib_before']:.0f} → {one[f'{part}_mib_peak']:.0f}"
                    for part in ("worker", "web")
                ),
                f"{one['page_ms']:.0f} ms, {_kb(one['page_bytes'])}",
                f"{one['graph_ms']:.0f} ms, {_kb(one['graph_bytes'])}",
                f"{_kb(one['update_bytes'])} ({_kb(one['largest_update_bytes'])})",
                _aim("pages in 2 s", met=slowest <= AIM_PAGE_MS),
            )
        )
    header = (
        "run of",
        "time",
        "ms per step, early → late (ratio)",
        "worker, MiB",
        "web, MiB",
        "its page",
        "its graph",
        "one update (largest)",
        "aim",
    )
    return "\n\n".join((_table(header, rows), _load(report)))


def checks(report: dict[str, Any]) -> str:
    """Return the table of checks and layouts by the size of the plan."""
    rows = []
    for size, one in sorted((int(n), one) for n, one in report["checks"].items()):
        total = one["check"] + one["layout"]
        limit = AIM_CHECK_MS.get(size)
        aim = _aim(f"at most {limit:,} ms", met=total <= limit) if limit else ""
        names = ("bare", "parse", "check", "layout")
        figures = [f"{one[name]:,.0f}" for name in names]
        rows.append((f"{size:,} ({one['edges']:,})", *figures, f"{total:,.0f}", aim))
    header = ("steps (dependencies)", "bare", "parse", "check", "layout", "both", "aim")
    return "\n\n".join((_table(header, rows), _load(report)))


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


def tables(report: dict[str, Any]) -> dict[str, str]:
    """Return the text of each part that was measured."""
    made = {
        "throughput": ("measures", measures),
        "large": ("large", large),
        "checks": ("checks", checks),
        "profile": ("profile", profile),
    }
    return {name: of(report) for key, (name, of) in made.items() if key in report}


def write(report: dict[str, Any]) -> None:
    """Put what was measured into the page."""
    for name, text in tables(report).items():
        put_between_markers(PAGE, name, text)


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


def _kb(size: float) -> str:
    return f"{size / 1000:.1f} kB"


def _load(report: dict[str, Any]) -> str:
    before, after = report["load"]
    return (
        f"Measured on {report['cores']} cores, load {before:.1f} before and {after:.1f}"
        " after."
    )


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
