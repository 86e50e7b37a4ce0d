"""The probes of the built-in skills against the real targets of their tests."""

import json
import threading
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from orchestration.skills import installed
from orchestration.skills.domain.outcome import (
    Call,
    CannotTell,
    DidHappen,
    DidNotHappen,
    Succeeded,
)
from orchestration.skills.execution import Runner, schema_problems
from orchestration.skills.execution.calls import CallKind, WireCall
from tests import targets
from tests.integration.git_builders import a_repository, git
from tests.integration.runner_builders import a_runner
from tests.jira import Jira
from tests.skill_calls import Bench, action, as_file, http_server, reply

PROBED = [
    f"{skill.slug}.{each.name}"
    for skill in installed.contracts()
    if skill.slug in installed.MODULES
    for each in skill.actions
    if each.probe
]


def ask(bench: Bench, name: str, params: dict[str, Any], *, key: str) -> Any:
    """Call the probe of an action; its output must satisfy the schema of the action."""
    contract = action(name)
    registered = installed.find(contract.probe)
    assert registered is not None
    assert registered.probe is not None
    found = registered.probe(bench.call(params, key=key))
    if isinstance(found, DidHappen):
        assert schema_problems(contract.output_schema, found.output) == []
    assert found.evidence.endswith(".")
    return found


def test_these_actions_have_a_probe():
    assert PROBED == [
        "data.load",
        "files.publish",
        "git-operations.create-branch",
        "git-operations.commit-files",
        "git-operations.revert",
        "git-operations.tag",
        "http.request",
        "jira-write.transition",
    ]


# Git.


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return a_repository(tmp_path / "repository")


@pytest.fixture
def bench(tmp_path: Path, repository: Path) -> Bench:
    return Bench(tmp_path / "calls", {"repository": str(repository)})


COMMIT = {"branch": "work", "message": "Add", "files": {"a.txt": "a"}}
OF_GIT = {
    "create-branch": {"name": "made"},
    "commit-files": COMMIT,
    "revert": {"branch": "work", "commit": "work"},
    "tag": {"name": "v1"},
}


@pytest.mark.parametrize("name", OF_GIT)
def test_what_git_has_from_a_step_is_found_and_nothing_else(name, bench, repository):
    git(repository, "branch", "work")
    if name == "revert":
        bench.good("git-operations.commit-files", COMMIT, key="before")
    params, action_name = OF_GIT[name], f"git-operations.{name}"

    before = ask(bench, action_name, params, key="a")
    made = bench.good(action_name, params, key="a")
    after = ask(bench, action_name, params, key="a")

    assert isinstance(before, CannotTell)
    assert isinstance(after, DidHappen)
    assert after.output == made.output
    of_another = ask(bench, action_name, params, key="b")
    assert not isinstance(of_another, DidHappen)


def test_a_branch_or_tag_of_unknown_origin_proves_nothing(bench, repository):
    git(repository, "branch", "made")
    git(repository, "tag", "v1")

    for name in ("create-branch", "tag"):
        found = ask(bench, f"git-operations.{name}", OF_GIT[name], key="a")
        assert isinstance(found, CannotTell)


def test_a_commit_on_a_branch_that_is_gone_cannot_be_found(bench):
    found = ask(bench, "git-operations.commit-files", COMMIT, key="a")

    assert isinstance(found, CannotTell)


# Files.


@pytest.fixture
def published(bench: Bench, tmp_path: Path) -> Path:
    root = tmp_path / "published"
    root.mkdir()
    bench.config = {"publish_root": str(root)}
    return root


@pytest.fixture
def report(tmp_path: Path):
    return as_file(tmp_path / "report.txt", "content")


def test_a_published_file_is_found_by_its_entry_and_its_content(
    bench, published, report, tmp_path
):
    params = {"file": report, "to": "out/"}

    before = ask(bench, "files.publish", params, key="a")
    made = bench.good("files.publish", params, key="a")
    after = ask(bench, "files.publish", params, key="a")

    assert isinstance(before, CannotTell)
    assert not published.joinpath(".execfabric").exists() or made
    assert isinstance(after, DidHappen)
    assert after.output == made.output
    assert isinstance(ask(bench, "files.publish", params, key="b"), CannotTell)

    newer = as_file(tmp_path / "newer.txt", "newer")
    other = {"file": newer, "to": "out/report.txt", "overwrite": True}
    bench.good("files.publish", other, key="b")
    assert isinstance(ask(bench, "files.publish", params, key="a"), CannotTell)


def test_a_file_with_an_entry_and_without_its_content_proves_nothing(
    bench, published, report
):
    params = {"file": report}
    bench.good("files.publish", params, key="a")
    published.joinpath("report.txt").unlink()

    assert isinstance(ask(bench, "files.publish", params, key="a"), CannotTell)

    published.joinpath("report.txt").write_text("of someone else")
    assert isinstance(ask(bench, "files.publish", params, key="a"), CannotTell)


def test_the_probe_of_a_file_makes_nothing(bench, published, report):
    ask(bench, "files.publish", {"file": report, "to": "out/"}, key="a")

    assert [*published.iterdir()] == []


# Data.


@pytest.fixture(scope="module")
def dsn():
    with targets.warehouse() as made:
        yield made


@pytest.fixture
def sales(bench, dsn, tmp_path):
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("DROP SCHEMA IF EXISTS shop CASCADE")
        connection.execute("CREATE SCHEMA shop")
    bench.config = {"databases": {"warehouse": dsn}}
    file = as_file(tmp_path / "sales.csv", "id,amount\n1,2\n2,3\n")
    return {"file": file, "table": "shop.sales"}


def test_a_load_is_found_in_the_ledger_of_its_table(bench, sales, dsn):
    first = ask(bench, "data.load", sales, key="a")
    bench.good("data.load", sales, key="first")
    before = ask(bench, "data.load", sales, key="a")
    made = bench.good("data.load", sales, key="a")
    after = ask(bench, "data.load", sales, key="a")

    assert isinstance(first, CannotTell)
    assert isinstance(before, DidNotHappen)
    assert isinstance(after, DidHappen)
    assert after.output == made.output
    assert isinstance(ask(bench, "data.load", sales, key="b"), DidNotHappen)
    with psycopg.connect(dsn) as connection:
        counted = connection.execute("SELECT count(*) FROM shop.execfabric_loads")
        assert counted.fetchone() == (2,)

    undo = {"load_id": made.output["load_id"], "table": "shop.sales"}
    bench.good("data.unload", undo)
    assert isinstance(ask(bench, "data.load", sales, key="a"), CannotTell)


def test_the_probe_of_a_load_waits_for_a_transaction_that_is_about_to_commit(
    bench, sales, dsn
):
    bench.good("data.load", sales, key="first")
    made = bench.good("data.load", sales, key="a")
    found: list[Any] = []
    with psycopg.connect(dsn) as late:
        late.execute("DELETE FROM shop.execfabric_loads WHERE load_id = %s",
                     [made.output["load_id"]])  # fmt: skip
        late.commit()
        late.execute(
            "INSERT INTO shop.execfabric_loads (load_id, table_name, sha256, rows)"
            " VALUES (%s, 'shop.sales', %s, 2)",
            [made.output["load_id"], sales["file"].sha256],
        )
        asking = threading.Thread(
            target=lambda: found.append(ask(bench, "data.load", sales, key="a"))
        )
        asking.start()
        time.sleep(0.5)
        assert found == []
        late.commit()
    asking.join()

    assert isinstance(found[0], DidHappen)


def test_a_database_that_does_not_answer_proves_nothing(bench, sales):
    bench.config = {"databases": {"warehouse": "postgresql://u:secret@127.0.0.1:1/x"}}

    found = ask(bench, "data.load", sales, key="a")

    assert isinstance(found, CannotTell)
    assert "secret" not in found.evidence


# Jira.

SEED = {"issue": "PROJ-123", "status": "In Progress"}


def test_a_transition_is_found_by_the_property_that_was_set_with_it(bench):
    jira = Jira()
    with http_server(jira.answer) as base:
        bench.config = {"base_url": base, "user": "bot@example.com", "token": "t0ken"}
        before = ask(bench, "jira-write.transition", SEED, key="a")
        made = bench.good("jira-write.transition", SEED, key="a")
        after = ask(bench, "jira-write.transition", SEED, key="a")
        of_another = ask(bench, "jira-write.transition", SEED, key="b")

        assert isinstance(before, DidNotHappen)
        assert isinstance(after, DidHappen)
        assert after.output == made.output
        assert isinstance(of_another, CannotTell)
        jira.status = "Done"
        changed = ask(bench, "jira-write.transition", SEED, key="a")
        assert isinstance(changed, CannotTell)
    assert jira.posts == 1
    gone = ask(bench, "jira-write.transition", SEED, key="a")
    assert isinstance(gone, CannotTell)


# HTTP.


class Orders:
    """A target that knows its orders, and answers as it is told."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.status = 200
        self.body: Any = {"id": 7, "state": "paid", "lines": [1]}

    def answer(self, request: Any, _: bytes) -> None:
        self.seen.append(f"{request.command} {request.path}")
        content = json.dumps(self.body).encode()
        reply(request, self.status, content, Content_Type="application/json")


@pytest.fixture
def orders(bench: Bench):
    made = Orders()
    bench.config = {"allow_private": True}
    with http_server(made.answer) as base:
        made.base = base
        yield made


@pytest.mark.parametrize(
    ("status", "probe", "answer"),
    [
        (200, {}, CannotTell),
        (200, {"expect": [200]}, DidHappen),
        (404, {}, CannotTell),
        (404, {"expect": [404]}, DidHappen),
        (404, {"expect": [404], "absent": [404]}, CannotTell),
        (404, {"absent": [404]}, DidNotHappen),
        (500, {}, CannotTell),
        (401, {}, CannotTell),
        (302, {}, CannotTell),
        (200, {"expect": [204]}, CannotTell),
        (204, {"absent": [204]}, DidNotHappen),
        (200, {"json": {"state": "paid"}}, DidHappen),
        (200, {"json": {"lines": [1]}}, DidHappen),
        (200, {"json": {"id": 8}}, CannotTell),
        (200, {"json": {"other": 1}}, CannotTell),
        (200, {"json": {"id": True}}, CannotTell),
    ],
)
def test_the_request_of_a_probe_says_if_the_request_took_effect(
    status, probe, answer, bench, orders
):
    orders.status = status
    url = f"{orders.base}/orders/7"
    params = {"url": f"{orders.base}/orders", "method": "POST"}

    found = ask(
        bench, "http.request", params | {"probe": {"url": url} | probe}, key="a"
    )

    assert isinstance(found, answer), found
    assert orders.seen == ["GET /orders/7"]


def test_a_probe_without_json_or_target_or_permission_proves_nothing(bench, orders):
    params = {"url": orders.base, "method": "POST"}

    def found(**probe: Any) -> Any:
        return ask(bench, "http.request", params | {"probe": probe}, key="a")

    orders.body = "text"
    assert isinstance(found(url=orders.base, method="HEAD", json={"a": 1}), CannotTell)
    assert isinstance(found(url="http://127.0.0.1:1/x"), CannotTell)
    bench.config = {}
    assert isinstance(found(url=orders.base), CannotTell)
    bench.config = {"allow_private": True}
    saved = params | {"save": True, "probe": {"url": orders.base}}
    assert isinstance(ask(bench, "http.request", saved, key="a"), CannotTell)


# In the runner, under the guard.


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with a_runner(tmp_path / "home", monkeypatch) as made:
        yield made


def test_a_probe_in_the_runner_reaches_its_target_and_cannot_write(
    bench, repository, orders, runner: Runner, tmp_path
):
    def asked(name: str, params: dict[str, Any], config: dict[str, Any]) -> Any:
        call = WireCall(
            handler=action(name).probe,
            params=params,
            config=config,
            workdir=tmp_path / "work",
            idempotency_key="a",
            deadline_s=60,
            kind=CallKind.PROBE,
            allow=installed.probe_allowance(action(name).probe),
        )
        return runner.complete(call)

    git(repository, "branch", "work")
    of_git = {"repository": str(repository)}
    for name, params in OF_GIT.items():
        found = asked(f"git-operations.{name}", params, of_git)
        assert isinstance(found, CannotTell), found
    asked_for = {"url": orders.base, "json": {"id": 7}}
    params = {"url": orders.base, "probe": asked_for}
    found = asked("http.request", params, {"allow_private": True})
    assert isinstance(found, DidHappen), found


def test_a_probe_cannot_run_as_an_action(bench):
    registered = installed.find("lab.witness-probe@1")

    assert registered is not None
    outcome = registered.run(bench.call({}))
    assert not isinstance(outcome, Succeeded)
    assert outcome.code == "skill.no_handler"
    assert isinstance(bench.call({}), Call)
