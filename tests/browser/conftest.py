"""A live installation and a real browser; every page is watched for faults.

Both end with this folder's tests: while Playwright's interface is in use, a loop runs
in this thread, and no other test could run one.
"""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.browser import stack
from tests.browser.browsing import PATIENCE, Browsing, Camera, Faults
from tests.browser.stack import Stack

CHROMIUM = "EXECFABRIC_CHROMIUM"
KNOWN_AS = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
)
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="package")
def live() -> Iterator[Stack]:
    """Start the installation."""
    with stack.running() as made:
        yield made


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """Start the browser."""
    named = os.environ.get(CHROMIUM) or next(filter(None, map(shutil.which, KNOWN_AS)))
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=named, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(autouse=True)
def faults(request: pytest.FixtureRequest) -> Iterator[Faults]:
    """Collect the faults of all pages; fail on any that are not expected."""
    made = Faults()
    yield made
    if made.unexpected:
        print(request.getfixturevalue("live").printed())
    assert made.unexpected == []


@pytest.fixture
def browse(chromium: Browser, live: Stack, faults: Faults) -> Iterator[Browsing]:
    """Return a function that opens browsers on the installation."""
    made = Browsing(chromium, live.url, faults)
    yield made
    made.close()


@pytest.fixture
def camera() -> Camera:
    """Return the camera."""
    return Camera()
