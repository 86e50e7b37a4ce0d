"""Browsers for people, what their pages complain of, and pictures of them."""

import os
import re
from pathlib import Path
from typing import Any

from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Response,
    WebError,
)

from execfabric.local.layout import PROJECT
from tests.browser import pages

PATIENCE = 60_000
"""Milliseconds; waits end as soon as what they wait for is there."""
WIDE = (1280, 900)
NARROW = (360, 740)


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


class Camera:
    """Takes pictures; those of the README only when they are asked for."""

    def __init__(self) -> None:
        self.folder = PROJECT / "build" / "screenshots"
        self.readme: Path | None = None
        if os.environ.get("EXECFABRIC_SCREENSHOTS") == "1":
            self.readme = PROJECT / "docs" / "images"

    def take(
        self, page: Page, name: str, *, readme: str = "", whole: bool = True
    ) -> None:
        """The whole page; for the README what fits on the screen."""
        self.folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=self.folder / f"{name}.png", full_page=whole)
        if readme and self.readme:
            self.readme.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=self.readme / f"{readme}.png")
