"""Report which promises are proven by tests that passed: `make promises`."""

import json
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LISTED = ROOT / "docs" / "promises.toml"
RESULTS = ROOT / "build" / "promises.json"
MARK = "promise"


def listed() -> dict[str, str]:
    """Return every promise by id, in the project's own words."""
    groups = tomllib.loads(LISTED.read_text(encoding="utf-8"))
    return {name: text for group in groups.values() for name, text in group.items()}


class Outcomes:
    """How the tests of one session ended, and which promises each is marked with."""

    def __init__(self) -> None:
        self._promises: dict[str, set[str]] = {}
        self._collected: set[str] = set()
        self._ended: set[str] = set()
        self._bad: set[str] = set()

    def collect(self, nodeids: Iterable[str]) -> None:
        """Expect these tests to run."""
        self._collected.update(nodeids)

    def take(self, report: Any) -> None:
        """Take the report of one phase of one test."""
        self._promises[report.nodeid] = {
            name for kind, name in report.user_properties if kind == MARK
        }
        if not report.passed or hasattr(report, "wasxfail"):
            self._bad.add(report.nodeid)
        if report.when == "teardown":
            self._ended.add(report.nodeid)

    @property
    def complete(self) -> bool:
        """Return True if every collected test ran to its end."""
        return bool(self._ended) and self._collected <= self._ended

    def by_promise(self) -> dict[str, dict[str, list[str]]]:
        """Return per promise its tests that passed, and those that did not."""
        found: dict[str, dict[str, list[str]]] = {}
        for nodeid, names in sorted(self._promises.items()):
            good = nodeid in self._ended - self._bad
            for name in names:
                of = found.setdefault(name, {"passed": [], "other": []})
                of["passed" if good else "other"].append(nodeid)
        return found


def write(outcomes: Outcomes) -> None:
    """Store what a complete run of the suite proved; remove the last result."""
    forget()
    if outcomes.complete:
        RESULTS.parent.mkdir(exist_ok=True)
        text = json.dumps(outcomes.by_promise(), indent=1, sort_keys=True)
        RESULTS.write_text(text, encoding="utf-8")


def forget() -> None:
    """Remove the last result."""
    RESULTS.unlink(missing_ok=True)


def report(found: dict[str, dict[str, list[str]]]) -> tuple[list[str], list[str]]:
    """Return the lines to print, and an error for each unknown promise.

    A promise is proven if it has tests and all of them passed.
    """
    known, lines, count = listed(), [], 0
    for name, text in known.items():
        tests = found.get(name, {"passed": [], "other": []})
        proven = bool(tests["passed"]) and not tests["other"]
        count += proven
        lines.append(f"{name:8} {'proven' if proven else '------'}  {text}")
        lines += [f"{'':17} {test}" for test in tests["passed"]]
        lines += [f"{'':17} did not pass: {test}" for test in tests["other"]]
    lines.append(f"\n{count} of {len(known)} promises are proven by tests that passed.")
    unknown = sorted(found.keys() - known.keys())
    return lines, [f"unknown promise {name}: {found[name]}" for name in unknown]


def main() -> int:
    """Print the promises and their tests; return 1 if one is unknown or none ran."""
    if not RESULTS.exists():
        print("No results of a complete run: run `make test` first.", file=sys.stderr)
        return 1
    lines, errors = report(json.loads(RESULTS.read_text(encoding="utf-8")))
    print("\n".join(lines))
    for error in errors:
        print(error, file=sys.stderr)
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
