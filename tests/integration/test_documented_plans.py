"""Every plan in the documents is valid, and runs on a worker and targets of the test."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest

from execfabric.identity.models import User
from execfabric.lib import clock
from orchestration.plans.domain import source
from orchestration.plans.services import check, saving
from orchestration.runs.control import uploads
from tests import real_worker, targets
from tests.builders import approved
from tests.documents import PROJECT, all_blocks
from tests.jira import Jira
from tests.patterns import PATTERNS
from tests.real_worker import People
from tests.skill_calls import http_server, reply

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("registry", "operator"),
]


def identifier(text: str) -> str:
    """Return the id of a plan."""
    plan_id: str = source.parse(text).value["plan"]["id"]
    return plan_id


EXAMPLES = sorted((PROJECT / "orchestration/plans/examples").glob("*.yaml"))
INPUTS: dict[str, dict[str, Any]] = {
    "check-service": {"service": "shop"},
    "greet-someone": {"name": "Ada"},
    "assemble-module": {
        "blueprint": {"name": "shop", "tests": False, "pages": ["start", "help"]}
    },
    "hello": {"name": "Ada"},
    "package-sizes": {"minimum": 1},
    "pattern-follow-up": {"branch": "left"},
    "publish-monthly-report": {"month": "2024-01"},
    "publish-package-report": {"minimum": 1},
    "publish-packages": {"letters": "a"},
    "ship-when-paid": {"invoice": "2026-017"},
    "tag-release": {"version": "1.0.0"},
    **{identifier(one.plan): one.inputs for one in PATTERNS if one.plan},
}
FILE = {"count-amounts": "amounts"}
"""The input of a plan that is a file."""
INSIDE = {"check-service", "pattern-follow-up"}
"""Plans that other plans run in a step."""
PAYLOADS = {"pattern.answered": {"choice": "ship"}}
"""The content of events that a plan reads."""
HOSTS = ("https://api.example.com", "https://hooks.example.com")
"""The hosts that plans call; a server of the test answers for them."""
JIRA_TOKEN = "t0ken"
ELSEWHERE = {"greet-someone", "invoice-total"}
"""Plans that need their document: test_documented_commands.py runs them."""


def documented() -> dict[str, str]:
    """Return every plan of the documents and examples by its id."""
    texts = [path.read_text() for path in EXAMPLES]
    texts += [block.text for block in all_blocks("yaml")]
    plans = {identifier(text): text for text in texts}
    assert len(plans) == len(texts), "two plans have the same id"
    return plans


ALL = documented()
PLANS = {key: text for key, text in ALL.items() if key not in ELSEWHERE}


@pytest.fixture(autouse=True)
def saved(proposer: User) -> None:
    """Save the plans that other plans of the documents run in a step."""
    by, at = proposer.actor(), clock.now()
    for key in sorted(INSIDE):
        saving.save_plan(text=PLANS[key], by=by, at=at)


def inputs_of(key: str, proposer: User) -> dict[str, Any]:
    """Return inputs for a plan, with an uploaded file if it needs one."""
    if key not in FILE:
        return INPUTS.get(key, {})
    content = b"region,amount\nnorth,7\nsouth,5\n"
    file = uploads.store(
        chunks=[content], name="amounts.csv", by=proposer.actor(), at=clock.now()
    )
    return {FILE[key]: str(file.pk)}


def test_the_lists_name_plans_of_the_documents():
    assert ALL.keys() >= INPUTS.keys() | FILE.keys() | INSIDE | ELSEWHERE


@pytest.mark.parametrize("key", PLANS)
def test_every_plan_in_the_documents_is_valid(key, proposer):
    by = proposer.actor()
    checked = check.check(
        text=PLANS[key],
        inputs=inputs_of(key, proposer),
        by=by,
        files=uploads.finder(by, clock.now()),
    )

    assert [one for one in checked.problems if one.severity == "error"] == []
    assert checked.valid


@pytest.fixture(scope="module")
def worker(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory):
    """Start a worker; return the address of its warehouse."""
    with targets.warehouse() as dsn:
        secrets = {
            "EXECFABRIC_SECRET_WAREHOUSE_DSN": dsn,
            "EXECFABRIC_SECRET_JIRA_TOKEN": JIRA_TOKEN,
        }
        with real_worker.working(tmp_path_factory.mktemp("worker"), **secrets):
            yield dsn


class Hosts:
    """Servers of the test in place of the hosts that plans call."""

    def __init__(self, jira: Jira, addresses: Mapping[str, str]) -> None:
        self.jira = jira
        self.addresses = addresses

    def plan(self, key: str) -> str:
        """Return a plan of the documents with the addresses of these servers."""
        text = PLANS[key]
        for host, address in self.addresses.items():
            text = text.replace(host, address)
        return text


@pytest.fixture
def hosts(key: str, tmp_path: Path, registry: list[str]) -> Iterator[Hosts]:
    """Give the skills of a plan local targets."""
    jira = Jira()
    with http_server(jira.answer) as at_jira, http_server(accept) as elsewhere:
        account = {"user": "bot@example.com", "token": {"$secret": "jira-token"}}
        configs = {
            "jira-write": {"base_url": at_jira, **account},
            "http": {"allow_private": True},
            "notify": {"allow_private": True},
        }
        for slug, config in configs.items():
            if f"skill: {slug}" in PLANS[key]:
                targets.configured(slug, config)
        if re.search("skill: (files|git-operations)", PLANS[key]):
            targets.prepare(tmp_path)
        yield Hosts(jira, dict.fromkeys(HOSTS, elsewhere))


def accept(request: Any, body: bytes) -> None:
    reply(request, 200, b"[]", Content_Type="application/json")


@pytest.mark.parametrize("key", PLANS)
def test_every_plan_in_the_documents_runs_on_a_worker(
    key, hosts, worker, proposer, operator
):
    people = People(operator, payloads=PAYLOADS, payload={"amount": 120})

    run = people.finish(
        approved(hosts.plan(key), proposer, operator, **inputs_of(key, proposer))
    )

    errors = [step.error for step in run.steps.all() if step.error]
    assert (run.state, errors) == ("succeeded", [])
    if key == "plan-001":
        assert hosts.jira.status == "In Progress"
    if key == "load-package-sizes":
        with psycopg.connect(worker) as connection:
            rows = connection.execute("SELECT letter, packages FROM package_sizes")
            assert rows.fetchall() == [("A", 1)]
