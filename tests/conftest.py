"""Run the suite on servers of its own, and note which promises its tests prove."""

from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

from tests import promises, session

pytest_plugins = ["tests.fixtures"]

BROWSER = "tests/browser/"
SECOND_HALF = f"{BROWSER}test_l"
UPLOADS = "tests/web/test_upload"
LONG = (
    "tests/integration/test_api_document.py",
    "tests/integration/test_failure_matrix.py",
    "tests/integration/test_rollback_faults.py",
    "tests/integration/test_stop_trials.py",
)
"""Files whose tests any worker may run: one worker would take minutes for all of them."""

OUTCOMES = promises.Outcomes()
SELECTIONS = (
    "collectonly",
    "deselect",
    "ignore",
    "ignore_glob",
    "keyword",
    "lf",
    "markexpr",
    "stepwise",
)
"""Options with which pytest runs a part of the suite only."""


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the servers, also after Ctrl-C."""
    session.stop()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Forget the last result where this run makes a new one."""
    if _is_whole(session.config):
        promises.forget()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse unknown promises; attach to each test those that it proves."""
    known = promises.listed()
    for item in items:
        proven = [
            name for mark in item.iter_markers(promises.MARK) for name in mark.args
        ]
        if unknown := sorted(set(proven) - set(known)):
            message = f"{item.nodeid} names unknown promises: {', '.join(unknown)}"
            raise pytest.UsageError(message)
        # Travels with the reports, also from the workers of pytest-xdist.
        item.user_properties += [(promises.MARK, name) for name in proven]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Note which tests are to run."""
    OUTCOMES.collect(item.nodeid for item in session.items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(ids: list[str]) -> None:
    """Note which tests the workers of pytest-xdist are to run."""
    OUTCOMES.collect(ids)


class Scheduler(LoadFileScheduling):  # type: ignore[misc]  # xdist has no types
    """Give each worker one file at a time, and the browser tests to two workers.

    The browser tests of a worker share an installation, which takes long to start. The
    tests of uploads change stored files that have one name for all workers.
    """

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(BROWSER):
            # Halves of about the same duration.
            return f"{BROWSER} {nodeid < SECOND_HALF}"
        if nodeid.startswith(UPLOADS):
            return UPLOADS
        if nodeid.startswith(LONG):
            return nodeid
        return str(super()._split_scope(nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduler:
    """Schedule the tests on the workers of pytest-xdist."""
    return Scheduler(config, log)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Take every report."""
    OUTCOMES.take(report)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Store the promises that a run of the whole suite proved."""
    if _is_whole(session.config):
        promises.write(OUTCOMES)


def _is_whole(config: pytest.Config) -> bool:
    """Return True if this process runs, or directs, the whole suite."""
    return (
        not hasattr(config, "workerinput")
        and config.args_source is not pytest.Config.ArgsSource.ARGS
        and not any(getattr(config.option, name, None) for name in SELECTIONS)
    )
