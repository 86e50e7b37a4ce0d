"""Every plan in the documents is valid, is dry-run, and runs if its targets are local."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from approvals.models import Gate
from execfabric.lib import clock
from execfabric.lib.actor import system
from orchestration.plans.domain import source
from orchestration.plans.services import check
from orchestration.runs.domain.states import FINAL_RUN, DryRunState
from orchestration.skills.models import Skill
from orchestration.skills.services import registry as registered
from tests.builders import OPEN, approved, decided, driven, proposed
from tests.documents import PROJECT, all_blocks

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry", "operator")]

EXAMPLES = sorted((PROJECT / "orchestration/plans/examples").glob("*.yaml"))
INPUTS: dict[str, dict[str, Any]] = {
    "greet-someone": {"name": "Ada"},
    "hello": {"name": "Ada"},
    "package-sizes": {"minimum": 1},
    "publish-monthly-report": {"month": "2024-01"},
    "publish-package-report": {"minimum": 1},
    "publish-packages": {"letters": "a"},
    "tag-release": {"version": "1.0.0"},
}
REMOTE = {
    "text-and-types": "calls an API and a web hook",
    "load-package-sizes": "loads into the warehouse of the demo; see the browser tests",
    "plan-001": "needs a Jira",
    "three-angles": "calls a web hook",
}
"""Plans that reach other hosts: checked and dry-run, not executed."""
WITH_ITS_SKILL = {"greet-someone"}
"""Plans whose skill is in the document too: test_documented_commands.py runs them."""


def documented() -> dict[str, str]:
    """Return every plan of the documents and examples by its id."""
    texts = [path.read_text() for path in EXAMPLES]
    texts += [block.text for block in all_blocks("yaml")]
    plans = {source.parse(text).value["plan"]["id"]: text for text in texts}
    assert len(plans) == len(texts), "two plans have the same id"
    return plans


ALL = documented()
PLANS = {key: text for key, text in ALL.items() if key not in WITH_ITS_SKILL}
LOCAL = sorted(PLANS.keys() - REMOTE.keys())


def test_the_lists_name_plans_of_the_documents():
    assert ALL.keys() >= INPUTS.keys() | REMOTE.keys() | WITH_ITS_SKILL


@pytest.mark.parametrize("key", PLANS)
def test_every_plan_in_the_documents_is_valid(key, proposer):
    checked = check.check(
        text=PLANS[key], inputs=INPUTS.get(key, {}), by=proposer.actor()
    )

    assert [one for one in checked.problems if one.severity == "error"] == []
    assert checked.valid


@pytest.mark.parametrize("key", REMOTE)
def test_a_plan_with_remote_targets_is_dry_run(key, proposer):
    run = proposed(PLANS[key], proposer, INPUTS.get(key, {}))

    assert run.dry_run.state == DryRunState.FINISHED


def configured(slug: str, config: dict[str, Any]) -> None:
    by, at = system("test"), clock.now()
    draft = registered.draft_from(
        slug=slug, changes={"config": config}, version="9.0.0", by=by, at=at
    )
    registered.publish(version_id=draft.pk, digest=draft.digest, by=by, at=at)


@pytest.fixture
def local_targets(tmp_path: Path, registry: list[str]) -> None:
    inbox, published = tmp_path / "inbox", tmp_path / "published"
    inbox.mkdir()
    published.mkdir()
    inbox.joinpath("sales-2024-01-north.csv").write_text("name,amount\nfirst,3\n")
    packages = "package,version,files,bytes\nfirst,1.0,3,400\n"
    inbox.joinpath("packages-a.csv").write_text(packages)
    repository = tmp_path / "repository.git"
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.example"]
    subprocess.run([*git, "init", "-q", "--bare", repository], check=True)
    at = [*git, "-C", str(repository)]
    tree = subprocess.run([*at, "mktree"], input=b"", capture_output=True, check=True)
    made = subprocess.run(
        [*at, "commit-tree", "-m", "first", tree.stdout.decode().strip()],
        capture_output=True,
        check=True,
    )
    first = made.stdout.decode().strip()
    subprocess.run([*at, "update-ref", "HEAD", first], check=True)
    configured("files", {"roots": [str(inbox)], "publish_root": str(published)})
    configured("git-operations", {"repository": str(repository)})
    assert Skill.objects.filter(current__version="9.0.0").count() == len(
        ("files", "git-operations")
    )


@pytest.mark.usefixtures("local_targets")
@pytest.mark.parametrize("key", LOCAL)
def test_a_plan_with_local_targets_runs(key, proposer, operator, worker):
    run = driven(
        approved(PLANS[key], proposer, operator, **INPUTS.get(key, {})), worker
    )
    while run.state not in FINAL_RUN and run.state != "paused":
        for gate in Gate.objects.filter(context_id=run.id, status__in=OPEN):
            decided(gate, operator)
        run = driven(run, worker)

    errors = [step.error for step in run.steps.all() if step.error]
    assert (run.state, errors) == ("succeeded", [])
