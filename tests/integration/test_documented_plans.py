"""The plans in the documents are valid, and run where their targets are local."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from approvals.models import Gate
from execfabric.lib import clock
from execfabric.lib.actor import system
from orchestration.plans.services import check
from orchestration.runs.domain.states import FINAL_RUN
from orchestration.skills.models import Skill
from orchestration.skills.services import registry as registered
from tests.builders import OPEN, approved, decided, driven

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("registry", "operator")]

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = sorted((ROOT / "orchestration/plans/examples").glob("*.yaml"))
INPUTS: dict[str, dict[str, Any]] = {
    "publish-monthly-report": {"month": "2024-01"},
    "publish-package-report": {"minimum": 1},
    "publish-packages": {"letters": "a"},
    "tag-release": {"version": "1.0.0"},
}
LOCAL = ["publish-monthly-report", "publish-packages", "ask-first", "tag-release"]
"""Plans that reach nothing but folders and repositories of this host."""


def documented() -> dict[str, str]:
    """Every plan in the documents and examples, by its id."""
    found = [path.read_text() for path in EXAMPLES]
    for path in DOCUMENTS:
        blocks = re.findall(
            r"^```yaml\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL
        )
        found += [block for block in blocks if block.startswith("plan:")]
    named = [(re.search(r"\bid[\"']?: [\"']?([\w-]+)", text), text) for text in found]
    return {match[1]: text for match, text in named if match}


PLANS = documented()


def test_the_documents_have_plans():
    assert {*LOCAL, "plan-001", "three-angles", "text-and-types"} <= PLANS.keys()


@pytest.mark.parametrize("key", PLANS)
def test_every_plan_in_the_documents_is_valid(key, proposer):
    checked = check.check(
        text=PLANS[key], inputs=INPUTS.get(key, {}), by=proposer.actor()
    )

    errors = [one for one in checked.problems if one.severity == "error"]
    assert errors == []
    assert checked.valid


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
    for name in ("sales-2024-01-north.csv", "packages-a.csv"):
        inbox.joinpath(name).write_text("name,amount\nfirst,3\n")
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
def test_a_plan_with_local_targets_runs(key, proposer, operator, bench):
    run = driven(approved(PLANS[key], proposer, operator, **INPUTS.get(key, {})), bench)
    while run.state not in FINAL_RUN and run.state != "paused":
        for gate in Gate.objects.filter(context_id=run.id, status__in=OPEN):
            decided(gate, operator)
        run = driven(run, bench)

    errors = [step.error for step in run.steps.all() if step.error]
    assert (run.state, errors) == ("succeeded", [])
