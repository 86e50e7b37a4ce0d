"""A live installation and a real browser; every page is watched for faults.

Both end with this folder's tests: while Playwright's interface is in use, a loop runs
in this thread, and no other test could run one.
"""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Response,
    WebError,
    expect,
    sync_playwright,
)

from execfabric.local.layout import PROJECT
from tests.browser import pages, stack
from tests.browser.stack import Stack

CHROMIUM = "EXECFABRIC_CHROMIUM"
KNOWN_AS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 60_000
"""Milliseconds; waits end as soon as what they wait for is there."""
WIDE = (1280, 900)
NARROW = (360, 740)


@pytest.fixture(scope="package")
def live() -> Iterator[Stack]:
    """The installation."""
    with stack.running() as made:
        yield made


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    """The browser."""
    named = os.environ.get(CHROMIUM) or next(filter(None, map(shutil.which, KNOWN_AS)))
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=named, args=FLAGS)
        yield browser
        browser.close()


class Faults:
    """Whatever a page complains of: errors, broken policies, answers of 500."""

    def __init__(self) -> None:
        self.found: list[str] = []
        self._allowed: list[str] = []

    def allow(self, pattern: str) -> None:
        """Expect complaints that match, because the test causes them."""
        self._allowed.append(pattern)

    def watch(self, context: BrowserContext) -> None:
        """Collect from every page of a context."""
        context.on("console", self._said)
        context.on("weberror", self._broke)
        context.on("response", self._answered)

    @property
    def unexpected(self) -> list[str]:
        """All but what the test said it would cause."""
        allowed = [re.compile(pattern) for pattern in self._allowed]
        return [one for one in self.found if not any(p.search(one) for p in allowed)]

    def _said(self, message: ConsoleMessage) -> None:
        policy = "Content Security Policy" in message.text
        if message.type == "error" or policy:
            self.found.append(f"console: {message.text} ({message.location['url']})")

    def _broke(self, error: WebError) -> None:
        self.found.append(f"script: {error.error}")

    def _answered(self, response: Response) -> None:
        if response.status >= 500:
            self.found.append(f"answer: {response.status} from {response.url}")


@pytest.fixture(autouse=True)
def faults() -> Iterator[Faults]:
    """What went wrong in any page of the test: nothing, unless it was expected."""
    made = Faults()
    yield made
    assert made.unexpected == []


class Browsing:
    """Opens browsers: each has cookies of its own, as if it were a person's own."""

    def __init__(self, chromium: Browser, address: str, faults: Faults) -> None:
        self._chromium = chromium
        self._address = address
        self._faults = faults
        self._contexts: list[BrowserContext] = []

    def __call__(
        self, role: str = "", *, size: tuple[int, int] = WIDE, **options: Any
    ) -> Page:
        """A page in a browser of its own, signed in at one click where a role is given."""
        context = self._chromium.new_context(
            base_url=options.pop("address", self._address),
            viewport={"width": size[0], "height": size[1]},
            locale="en-GB",
            timezone_id="UTC",
            reduced_motion="reduce",
            **options,
        )
        self._contexts.append(context)
        context.set_default_timeout(PATIENCE)
        self._faults.watch(context)
        page = context.new_page()
        if role:
            pages.sign_in(page, role)
        return page

    def close(self) -> None:
        """Close them all."""
        for context in self._contexts:
            context.close()


@pytest.fixture
def browse(chromium: Browser, live: Stack, faults: Faults) -> Iterator[Browsing]:
    """Opens browsers on the installation."""
    made = Browsing(chromium, live.url, faults)
    yield made
    made.close()


class Camera:
    """Takes pictures; those of the README only when they are asked for."""

    def __init__(self) -> None:
        self.folder = PROJECT / "build" / "screenshots"
        self.readme: Path | None = None
        if os.environ.get("EXECFABRIC_SCREENSHOTS") == "1":
            self.readme = PROJECT / "docs" / "images"

    def take(self, page: Page, name: str, *, readme: str = "") -> None:
        """The whole page; for the README what fits on the screen."""
        self.folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=self.folder / f"{name}.png", full_page=True)
        if readme and self.readme:
            self.readme.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=self.readme / f"{readme}.png")


@pytest.fixture
def camera() -> Camera:
    """Takes pictures of pages."""
    return Camera()
