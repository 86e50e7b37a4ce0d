"""The whole suite runs on servers of its own; which promises it shows is written down."""

from collections.abc import Iterable
from typing import Any

import pytest

from tests import promises, session

pytest_plugins = ["tests.fixtures"]

PROMISE = "promise"


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the servers, also after Ctrl-C."""
    session.stop()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a promise that nobody made; note at each test what it shows."""
    known = promises.listed()
    for item in items:
        shown = [name for mark in item.iter_markers(PROMISE) for name in mark.args]
        if unknown := sorted(set(shown) - set(known)):
            message = f"{item.nodeid} shows unknown promises: {', '.join(unknown)}"
            raise pytest.UsageError(message)
        # Travels with the reports, also from the workers of pytest-xdist.
        item.user_properties += [(PROMISE, name) for name in shown]


class Shown:
    """Collects which tests passed, and which promises these show."""

    def __init__(self) -> None:
        self._of: dict[str, set[str]] = {}
        self._ended: set[str] = set()
        self._bad: set[str] = set()

    def take(self, report: pytest.TestReport) -> None:
        """Take one phase of one test."""
        self._of[report.nodeid] = {
            name for kind, name in report.user_properties if kind == PROMISE
        }
        if not report.passed:
            self._bad.add(report.nodeid)
        if report.when == "teardown":
            self._ended.add(report.nodeid)

    @property
    def count(self) -> int:
        """How many tests have ended."""
        return len(self._ended)

    def by_promise(self) -> dict[str, list[str]]:
        """Per promise the tests that passed in all their phases."""
        found: dict[str, list[str]] = {}
        for nodeid in sorted(self._ended - self._bad):
            for name in self._of[nodeid]:
                found.setdefault(name, []).append(nodeid)
        return found


SHOWN = Shown()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Take every report."""
    SHOWN.take(report)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the promises down, if this was the whole suite and not a part of it."""
    config = session.config
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    whole = config.args_source is not pytest.Config.ArgsSource.ARGS
    selected = config.option.keyword or config.option.markexpr
    if whole and not selected and SHOWN.count and SHOWN.count >= _collected(session):
        promises.write(SHOWN.by_promise())


def _collected(session: pytest.Session) -> int:
    items: Iterable[Any] = getattr(session, "items", ())
    return len(list(items))
