"""Which promises are shown by tests that passed: `make promises`."""

import json
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LISTED = ROOT / "docs" / "promises.toml"
RESULTS = ROOT / "build" / "promises.json"


def listed() -> dict[str, str]:
    """Every promise by id, in the project's own words."""
    return tomllib.loads(LISTED.read_text(encoding="utf-8"))["promises"]


def write(shown: dict[str, list[str]]) -> None:
    """Keep what the last test run showed: per id the tests that passed."""
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(shown, indent=1, sort_keys=True), encoding="utf-8")


def main() -> int:
    """Print per id the tests that showed it; 1 for an unknown id or no results."""
    if not RESULTS.exists():
        print("No results yet: run `make test` first.", file=sys.stderr)
        return 1
    known = listed()
    shown = json.loads(RESULTS.read_text(encoding="utf-8"))
    unknown = sorted(set(shown) - set(known))
    for name in known:
        tests = shown.get(name, [])
        print(f"{name:8} {'shown' if tests else '-----'}  {known[name]}")
        for test in tests:
            print(f"{'':16} {test}")
    count = sum(bool(shown.get(name)) for name in known)
    print(f"\n{count} of {len(known)} promises are shown by tests that passed.")
    for name in unknown:
        print(f"unknown promise {name}: {', '.join(shown[name])}", file=sys.stderr)
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
