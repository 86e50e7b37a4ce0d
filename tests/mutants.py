"""Remove the guards of the code one by one, and see which tests fail.

`python -m tests.mutants` copies the source into a temporary folder, changes one place of
`mutants.toml` at a time and runs the tests that must notice it. It returns 1 if one does
not. `--only NAME` tries some of them. The last result of each is stored in `build/`, and
`--write` puts all of them into docs/reliability.md.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.documents import PROJECT, put_between_markers

LIST = PROJECT / "tests" / "mutants.toml"
PAGE = "docs/reliability.md"
SOURCES = ("approvals", "audit", "execfabric", "orchestration", "tests")
FILES = ("manage.py", "pyproject.toml", "Makefile", "README.md")
FOLDERS = (*SOURCES, "docs", "static", "templates")
RESULTS = PROJECT / "build" / "mutants.json"
OF_XDIST = "PYTEST_XDIST_WORKER"
FAILED = re.compile(r"^FAILED (\S+\.py::\w+)", re.MULTILINE)
TIMEOUT_S = 600


@dataclass(frozen=True)
class Mutant:
    """A guard, and a change of the code that removes it."""

    name: str
    guard: str
    """What the guard says."""
    file: str
    text: str
    """The text to replace, which the file has exactly once."""
    replacement: str
    tests: tuple[str, ...]
    """The tests of which at least one must fail."""


@dataclass(frozen=True)
class Tried:
    """What the tests said about a mutant."""

    mutant: Mutant
    caught_by: str
    """The first test that failed, or ""."""
    problem: str = ""
    """Why the tests said nothing."""

    def __str__(self) -> str:
        result = f"caught by {self.caught_by}" if self.caught_by else "NOT CAUGHT"
        return f"{self.mutant.name}: {self.problem or result}"


def listed() -> list[Mutant]:
    """Return the mutants of the list, in its order."""
    with LIST.open("rb") as file:
        rows = tomllib.load(file)
    return [
        Mutant(name=name, **{**row, "tests": tuple(row["tests"])})
        for name, row in rows.items()
    ]


def main() -> int:
    """Try mutants; return 1 if one of them is not caught."""
    arguments = _arguments()
    chosen = [m for m in listed() if not arguments.only or m.name in arguments.only]
    if not chosen:
        print("Unknown mutant. See tests/mutants.toml.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="execfabric-mutants-") as folder:
        copy = Path(folder)
        _copy(copy)
        tried = []
        for mutant in chosen:
            tried.append(_tried(copy, mutant))
            print(tried[-1], flush=True)
            _store(tried[-1])
        if problem := _problem_without_change(copy, tried):
            print(problem, file=sys.stderr)
            return 2
    if arguments.write:
        put_between_markers(PAGE, "mutants", table(_stored()))
    return int(not all(one.caught_by for one in tried))


def table(results: Mapping[str, str]) -> str:
    """Return the last results, by mutant, as a Markdown table."""
    mutants = listed()
    caught = sum(bool(results.get(mutant.name)) for mutant in mutants)
    tried = sum(mutant.name in results for mutant in mutants)
    rows = [
        f"Of {len(mutants)} mutants {tried} were tried, and {caught} of these were caught.",
        "",
        "| Guard that is removed | File | Noticed by |",
        "| --- | --- | --- |",
    ]
    for mutant in mutants:
        test = results.get(mutant.name, "").rpartition("::")[2]
        noticed = f"`{test}`" if test else "**no test**"
        if mutant.name not in results:
            noticed = "not tried yet"
        rows.append(f"| {mutant.guard} | `{mutant.file}` | {noticed} |")
    return "\n".join(rows)


def _store(one: Tried) -> None:
    """Store the result of a mutant, unless its tests did not run."""
    if one.problem:
        return
    RESULTS.parent.mkdir(exist_ok=True)
    known = _stored() | {one.mutant.name: one.caught_by}
    RESULTS.write_text(json.dumps(known, indent=2), encoding="utf-8")


def _stored() -> dict[str, str]:
    """Return the last result of each mutant: the test that failed, or ""."""
    if not RESULTS.exists():
        return {}
    known: dict[str, str] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return known


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME")
    parser.add_argument("--write", action="store_true", help=f"into {PAGE}")
    return parser.parse_args()


def _copy(copy: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    for name in FOLDERS:
        shutil.copytree(PROJECT / name, copy / name, ignore=ignored)
    for name in FILES:
        shutil.copy(PROJECT / name, copy)


def _problem_without_change(copy: Path, tried: Sequence[Tried]) -> str:
    """Return why the tests prove nothing: one of those that failed fails anyway."""
    tests = dict.fromkeys(one.caught_by for one in tried if one.caught_by)
    done = _pytest(copy, tests, timeout_s=None)
    if done.returncode == 0 or not tests:
        return ""
    return f"A test fails without a mutant too:\n{done.stdout[-4000:]}"


def _tried(copy: Path, mutant: Mutant) -> Tried:
    path = copy / mutant.file
    before = path.read_text(encoding="utf-8")
    _put(path, before.replace(mutant.text, mutant.replacement))
    try:
        done = _pytest(copy, mutant.tests)
    except subprocess.TimeoutExpired:
        return Tried(mutant, "", "the tests did not end")
    finally:
        _put(path, before)
    if failed := FAILED.search(done.stdout):
        return Tried(mutant, failed[1])
    if done.returncode == 0:
        return Tried(mutant, "")
    return Tried(mutant, "", f"the tests did not run:\n{done.stdout[-2000:]}")


def _put(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    # A change of the same length within a second would leave the old code in use.
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
        compiled.unlink()


def _environment(tests: Iterable[str]) -> dict[str, str]:
    """Return the environment of the tests; unit tests need no servers."""
    env = {name: value for name, value in os.environ.items() if name != OF_XDIST}
    if not all(test.startswith("tests/unit/") for test in tests):
        return env
    servers = {
        "DATABASE_URL": "postgres://none@127.0.0.1:1/none",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "SECRET_KEY": "of tests",
        "DJANGO_SETTINGS_MODULE": "execfabric.settings",
        "EXECFABRIC_ENV": "development",
        "EXECFABRIC_DEMO": "false",
        "EXECFABRIC_EXTRA_HANDLERS": "tests.handlers",
        "EXECFABRIC_TEST_WITNESS": os.devnull,
    }
    return env | servers | {OF_XDIST: "gw0"}


def _pytest(
    copy: Path,
    tests: Iterable[str],
    *,
    timeout_s: float | None = TIMEOUT_S,
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
    command += ["-n", "0", "-rf", "--no-header", "--tb=no"]
    return subprocess.run(
        [*command, *tests],
        cwd=copy,
        env=_environment(tests),
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout_s,
    )


if __name__ == "__main__":
    sys.exit(main())
