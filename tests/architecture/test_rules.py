"""Rules that hold over the source as a whole."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from execfabric.celery import app
from orchestration.runs import dispatch
from orchestration.trace.services.jobs import VERIFY

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("execfabric", "orchestration", "approvals", "audit")


def sources() -> Iterator[tuple[str, ast.AST]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if "migrations" not in path.parts:
                yield str(path.relative_to(ROOT)), ast.parse(path.read_text())


def test_only_the_clock_reads_the_clock():
    reads = re.compile(r"datetime\.now\(|timezone\.now\(|datetime\.utcnow\(")
    found = [
        name
        for name, _ in sources()
        if name != "execfabric/lib/clock.py"
        and not name.startswith("execfabric/local/")
        and not name.startswith("execfabric/cli/")
        and reads.search((ROOT / name).read_text())
    ]

    assert found == []


def test_every_dispatched_name_is_a_registered_task():
    app.loader.import_default_modules()

    assert {dispatch.WORK, dispatch.DRY_RUN, VERIFY} <= set(app.tasks)


def test_no_source_file_is_long():
    long = {
        name: count
        for name, _ in sources()
        if (count := (ROOT / name).read_text().count("\n")) > 400
    }

    assert long == {}


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_every_dependency_is_pinned_with_hashes_and_no_index_is_named(name):
    text = (ROOT / name).read_text()
    pinned = re.findall(r"^[A-Za-z0-9_.\[\],-]+==\S+", text, re.MULTILINE)

    assert len(pinned) > 30
    assert len(re.findall(r"--hash=sha256:[0-9a-f]{64}", text)) >= len(pinned)
    assert not re.search(r"https?://|--index-url|--find-links", text)


PLANTED = {
    "Packages import downwards": ("audit/services.py", "import approvals.models"),
    "Infrastructure builds on plain Python": (
        "execfabric/lib/clock.py",
        "import execfabric.infra.disk",
    ),
    "Inside orchestration": (
        "orchestration/skills/models.py",
        "import orchestration.runs.models",
    ),
    "Inside an app, interface > services > models > domain": (
        "orchestration/runs/models/__init__.py",
        "import orchestration.runs.worker.work",
    ),
    "Inside runs, what people and workers do uses the engine": (
        "orchestration/runs/engine/specs.py",
        "import orchestration.runs.control.proposals",
    ),
    "The domain is plain Python": (
        "orchestration/runs/domain/states.py",
        "import django",
    ),
    "Only audit touches the events": (
        "orchestration/runs/selectors.py",
        "import audit.models",
    ),
    "Only dispatch names Celery, only live the channel layer": (
        "orchestration/runs/keeper/sweep.py",
        "import celery",
    ),
}


def test_each_import_contract_breaks_when_it_is_violated(tmp_path):
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name, line in PLANTED.values():
        path = tmp_path / name
        path.write_text(f"{path.read_text()}\n{line}\n")

    lint = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [lint], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    for contract in PLANTED:
        assert f"{contract} BROKEN" in done.stdout
    assert done.returncode != 0
