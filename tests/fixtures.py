"""What many tests share: the registry, and one person per role."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.test import TransactionTestCase
from servestatic.middleware import ServeStaticMiddleware

from execfabric.identity.models import Agent, User
from execfabric.identity.people import ensure_roles
from execfabric.lib import clock
from execfabric.lib.actor import Actor, system
from execfabric.lib.rights import Role
from orchestration.plans.services import saving
from orchestration.runs.engine import loading
from orchestration.runs.worker.work import WorkerContext
from orchestration.skills import installed
from orchestration.skills.models import Skill
from orchestration.skills.services import sync
from orchestration.triggers.models import Schedule
from orchestration.triggers.services import firing
from tests import builders, committed
from tests.api_builders import Caller, token_of
from tests.broker import Broker
from tests.builders import a_worker
from tests.integration import schedule_builders
from tests.web.upload_builders import stored


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Register every installed skill once; each test starts with these rows."""
    with django_db_blocker.unblock():
        sync.sync(at=clock.now())
        committed.save()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            TransactionTestCase, "_fixture_teardown", lambda _: committed.restore()
        )
        yield


@pytest.fixture(scope="session", autouse=True)
def static_files() -> Iterator[None]:
    """Find the static files once in a session, not once for each test client."""
    found: dict[str, Any] = {}
    find = ServeStaticMiddleware.add_files_from_finders

    def find_once(middleware: ServeStaticMiddleware) -> None:
        if not found:
            find(middleware)
            found.update(middleware.files)
        middleware.files.update(found)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ServeStaticMiddleware, "add_files_from_finders", find_once)
        yield


@pytest.fixture
def registry(db: None) -> list[str]:
    """Every installed skill, those of the laboratory too, in the test's database.

    A test with real transactions empties the tables; whoever comes next fills them.
    """
    known = set(Skill.objects.values_list("slug", flat=True))
    if known >= {contract.slug for contract in installed.contracts()}:
        return sorted(known)
    return [one.slug for one in sync.sync(at=clock.now())]


@pytest.fixture
def proposer(operator: User) -> User:
    """May propose and nothing else; there is an operator who could decide on it."""
    return _person("proposer", Role.PROPOSER)


@pytest.fixture
def operator(db: None) -> User:
    """May decide on what others proposed."""
    return _person("operator", Role.OPERATOR)


@pytest.fixture
def second_operator(db: None) -> User:
    """Another operator."""
    return _person("second-operator", Role.OPERATOR)


@pytest.fixture
def admin(db: None) -> User:
    """May edit the registry and the policies."""
    return _person("admin", Role.ADMIN)


@pytest.fixture
def auditor(db: None) -> User:
    """May read everything and change nothing."""
    return _person("auditor", Role.AUDITOR)


@pytest.fixture
def stranger(db: None) -> User:
    """Has an account and no role."""
    return _person("stranger")


def _person(name: str, *roles: Role) -> User:
    ensure_roles(by=system("test"), at=clock.now())
    user = User.objects.create_user(name)
    for role in roles:
        user.groups.add(Group.objects.get(name=str(role)))
    return user


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    """Return a broker that the test may kill; hints of this process go to it."""
    made = Broker(tmp_path / "data")
    made.start()
    with made.in_use():
        yield made
    made.kill()


class Witness:
    """A file outside the system: each effect of the laboratory adds one line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[str]:
        """Every line so far."""
        return self.path.read_text().splitlines() if self.path.exists() else []


@pytest.fixture
def witness() -> Witness:
    """Return an empty witness file."""
    path = Path(os.environ["EXECFABRIC_TEST_WITNESS"])
    path.unlink(missing_ok=True)
    return Witness(path)


@pytest.fixture(params=["fast", "locked"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test twice: where a worker needs no lock, and where it always takes it."""
    size = loading.CACHED_RUNS if request.param == "fast" else 0
    monkeypatch.setattr(builders, "CACHED_RUNS", size)
    monkeypatch.setattr(builders, "CACHE", loading.RunCache(size))
    return str(request.param)


@pytest.fixture
def worker() -> Iterator[WorkerContext]:
    """Return the context of a worker; its runner ends with the test."""
    made = a_worker()
    yield made
    made.close()


@pytest.fixture
def second(operator: User) -> User:
    """Return another proposer."""
    user = User.objects.create_user("second")
    user.groups.add(Group.objects.get(name=str(Role.PROPOSER)))
    return user


@pytest.fixture
def agent(proposer: User) -> Actor:
    """Return an agent of the proposer."""
    made = Agent.objects.create(name="bot", owner=proposer, created_at=clock.now())
    return made.actor()


@pytest.fixture
def api(proposer: User) -> Caller:
    return Caller(token_of(proposer))


@pytest.fixture
def clean_store() -> Iterator[None]:
    """Remove the file of upload_builders: all tests share a store."""
    yield
    stored().unlink(missing_ok=True)


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fire all that is due in one sweep, also on a slow machine."""
    monkeypatch.setattr(firing, "BUDGET_S", 3600.0)


@pytest.fixture
def lab_plan(proposer: User) -> None:
    saving.save_plan(text=schedule_builders.TEXT, by=proposer.actor(), at=clock.now())


@pytest.fixture
def schedule(lab_plan: None, proposer: User) -> Schedule:
    return schedule_builders.made(proposer)
