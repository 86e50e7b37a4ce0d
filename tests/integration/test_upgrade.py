"""An upgrade from the previous release, with runs under way and decisions made.

The previous release is taken from the history of this repository and run by its own
code on servers of this test; then this release takes over the same data.
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from execfabric.local.layout import PROJECT
from orchestration.skills import installed
from orchestration.skills.domain import code
from tests.servers import TestServers, spawn, start_servers

PREVIOUS = "1e91625f4a6be9f6599a7564464b9a211e404685"
"""The commit of the previous release."""
SCRIPTS = PROJECT / "tests" / "upgrade"


def previous_release(folder: Path) -> Path:
    """Unpack the files of the previous release; skip if history is missing."""
    packed = subprocess.run(
        ["git", "-C", str(PROJECT), "archive", PREVIOUS],
        capture_output=True,
        check=False,
    )
    if packed.returncode:
        pytest.skip(
            f"The previous release {PREVIOUS[:7]} is not in this clone's history;"
            f" a full clone has it: {packed.stderr.decode().strip()}"
        )
    with tarfile.open(fileobj=BytesIO(packed.stdout)) as tar:
        tar.extractall(folder, filter="data")
    scripts = folder / "tests" / "upgrade"
    shutil.copytree(SCRIPTS, scripts, ignore=shutil.ignore_patterns("__pycache__"))
    changing = scripts / "changing.py"
    text = changing.read_text()
    changing.write_text(text.replace('RELEASE = "new"', 'RELEASE = "old"'))
    return folder


@dataclass
class Installation:
    """One data directory, which first the previous release uses and then this one."""

    servers: TestServers
    home: Path
    said: str = ""
    """What the last program wrote to its standard error."""

    @property
    def witness(self) -> list[str]:
        """The effects so far."""
        path = self.home / "witness"
        return path.read_text().splitlines() if path.exists() else []

    def env(self, tree: Path, **more: str) -> dict[str, str]:
        """Return the environment of a release's processes."""
        inherited = {k: v for k, v in os.environ.items() if not k.endswith("_FILE")}
        return inherited | {
            "DJANGO_SETTINGS_MODULE": "execfabric.settings",
            "PYTHONPATH": str(tree),
            "DATABASE_URL": self.servers.endpoints.database_url,
            "REDIS_URL": self.servers.endpoints.redis_url,
            "SECRET_KEY": self.servers.data.secret_key(),
            "EXECFABRIC_DATA_DIR": str(self.home / "data"),
            "EXECFABRIC_EXTRA_HANDLERS": "tests.upgrade.acme,tests.upgrade.changing",
            "EXECFABRIC_LEASE_SECONDS": "2",
            "EXECFABRIC_LOG_LEVEL": "WARNING",
            "ACME_WITNESS": str(self.home / "witness"),
            **more,
        }

    def run(self, tree: Path, *arguments: str, **env: str) -> str:
        """Return the output of a program of a release."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=tree,
            env=self.env(tree, **env),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
        self.said = done.stderr
        return done.stdout

    def prepare(self, tree: Path, **env: str) -> str:
        """Migrate, grant rights and synchronise the skills, as `up` does."""
        owner = self.servers.endpoints.owner_database_url
        return self.run(
            tree, "-m", "execfabric.local.prepare", DATABASE_URL=owner, **env
        )


@dataclass
class Upgraded:
    """What the previous release left, and what became of it."""

    before: Mapping[str, Any]
    sync: str
    """What the preparation by this release printed."""
    after: Mapping[str, Any]
    shipped: Mapping[str, Any]
    """What the previous release shipped: digests of its code, schemas of its outputs."""
    verified: str
    witness: list[str]

    def run(self, name: str) -> Any:
        """Return a run after the upgrade."""
        return self.after["runs"][name]

    def skill(self, slug: str) -> Any:
        """Return a skill after the upgrade."""
        return self.after["skills"][slug]


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upgraded]:
    """Run the previous release and then this one on the same data."""
    home = tmp_path_factory.mktemp("upgrade")
    old = previous_release(home / "previous")
    servers = start_servers(home / "data")
    parts = []
    try:
        place = Installation(servers, home)
        place.prepare(old)
        before = json.loads(place.run(old, "-m", "tests.upgrade.before"))
        sync = place.prepare(PROJECT, ACME_RELEASE="2") + place.said
        env = place.env(PROJECT, ACME_RELEASE="2")
        parts += [spawn("worker", env, concurrency=1), spawn("keeper", env)]
        for one in parts:
            one.wait_ready()
        ids = json.dumps(before["runs"])
        told = place.run(PROJECT, "-m", "tests.upgrade.after", ids, ACME_RELEASE="2")
        after = json.loads(told)
        verified = place.run(PROJECT, "manage.py", "verify_trace")
        now = str(PROJECT / "orchestration" / "skills" / "domain")
        shipped = json.loads(place.run(old, "-m", "tests.upgrade.earlier", now))
        yield Upgraded(before, sync, after, shipped, verified, place.witness)
    finally:
        for one in parts:
            one.stop()
        servers.stop()


def test_the_previous_release_left_runs_at_every_place(upgraded) -> None:
    assert upgraded.before["steps"] == {
        "waiting-plan": ["pending", "pending"],
        "waiting-step": ["succeeded", "gated", "pending"],
        "approved-step": ["succeeded", "ready", "pending"],
        "ready": ["ready", "pending"],
        "paused": ["succeeded", "pending"],
        "running": ["running", "pending"],
        "built-in": ["ready"],
        "changing": ["ready", "pending"],
    }


def test_every_run_goes_on_and_succeeds(upgraded) -> None:
    ends = {name: run["state"] for name, run in upgraded.after["runs"].items()}

    assert set(ends.values()) == {"succeeded"}, upgraded.after["runs"]


@pytest.mark.parametrize(
    ("slug", "state", "version", "drafts"),
    [
        pytest.param("acme", "active", "1.0.1", ["1.1.0"], id="customised"),
        pytest.param("acme-plain", "active", "1.1.0", [], id="untouched"),
        pytest.param("acme-taken", "active", "1.1.0", ["1.1.1"], id="number taken"),
        pytest.param("acme-bad", "quarantined", "1.0.0", ["1.1.0"], id="quarantined"),
        pytest.param("acme-old", "deprecated", "1.0.0", ["1.1.0"], id="deprecated"),
    ],
)
def test_a_shipped_version_waits_where_an_admin_has_decided(
    slug, state, version, drafts, upgraded
) -> None:
    skill = upgraded.skill(slug)

    assert (skill["state"], skill["version"], skill["drafts"]) == (
        state,
        version,
        drafts,
    )
    said = f"{slug}: a new shipped version is waiting as draft"
    assert (said in upgraded.sync) == bool(drafts)


def test_what_an_admin_configured_and_raised_stays(upgraded) -> None:
    acme, files = upgraded.skill("acme"), upgraded.skill("files")

    assert acme["config"]["room"] == "ours"
    assert acme["risks"]["raised"] == "critical"
    assert acme["timeouts"]["mark"] == 7
    assert files["risks"]["archive"] == "high"
    assert upgraded.skill("notify")["state"] == "quarantined"
    assert upgraded.skill("jira-write")["state"] == "deprecated"


def test_a_run_asks_no_more_than_it_would_have(upgraded) -> None:
    asked = {
        name: [step for step, status, _ in run["gates"]]
        for name, run in upgraded.after["runs"].items()
    }

    # A release may change the built-in code; then the step asks again.
    noop = installed.MODULES["noop"]
    is_same = code.digest_of(noop) in code.EARLIER.values()
    unless_changed = {"built-in": [""] if is_same else ["", "s0"]}
    assert (
        asked
        == {
            "waiting-plan": ["", "s1"],
            "waiting-step": ["", "s1"],
            "approved-step": ["", "s1"],
            "ready": [""],
            "paused": [""],
            "running": [""],
            # Its code has changed, so each step asks for an approval of its own.
            "changing": ["", "s0", "s1"],
        }
        | unless_changed
    )


def test_a_step_whose_code_has_changed_says_so_and_runs_the_new_code(upgraded) -> None:
    run = upgraded.run("changing")

    changed = "The code of acme-changing.mark@1 has changed since it was approved."
    assert [reasons for step, _, reasons in run["gates"] if step] == [[changed]] * 2
    assert [output for _, _, output in run["steps"].values()] == [{"mark": "new"}] * 2


def test_no_effect_is_lost_or_doubled(upgraded) -> None:
    marks = [
        f"{name}-{step}"
        for name, run in upgraded.after["runs"].items()
        for step in run["steps"]
        # A worker held this one when it ended; the previous release recorded nothing.
        if (name, step) != ("paused", "s0") and name != "built-in"
    ]

    assert sorted(upgraded.witness) == sorted(marks)


def test_the_digests_of_the_previous_release_are_known(upgraded) -> None:
    now = {code.digest_of(module) for module in installed.MODULES.values()}
    unchanged = {
        earlier: today
        for earlier, today in upgraded.shipped["digests"].items()
        if today in now
    }

    assert unchanged
    assert unchanged.items() <= code.EARLIER.items()


def test_a_handler_still_returns_what_its_version_promised(upgraded) -> None:
    """Otherwise raise its version: approved runs and customised skills use the old one."""
    now = {
        action.handler: action.output_schema
        for skill in installed.contracts()
        for action in skill.actions
    }
    broken = [
        f"{handler}: {name}"
        for handler, schema in upgraded.shipped["schemas"].items()
        for name in schema.get("required", ())
        if handler in now
        and bare(schema["properties"][name])
        != bare(now[handler].get("properties", {}).get(name))
    ]

    assert broken == []


def bare(schema: Any) -> Any:
    """Return a schema without its texts."""
    if isinstance(schema, dict):
        words = {"title", "description"}
        return {k: bare(v) for k, v in schema.items() if k not in words}
    return [bare(item) for item in schema] if isinstance(schema, list) else schema


def test_the_record_verifies(upgraded) -> None:
    assert upgraded.verified
