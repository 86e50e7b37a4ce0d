"""Browsers for people, what their pages complain of, and pictures of them."""

import base64
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
LOOKS = [("light", (1280, 900)), ("dark", (1280, 900)), ("light", NARROW), ("dark", NARROW)]  # fmt: skip


class Faults:
    """What went wrong on a page: errors, violated policies, responses of 500."""

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
        """Open a page in its own browser context, signed in if a role is given."""
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


CHANCE = (
    "time, code, .mono, .num, .digest, .value-text, .value-digest, .item-meta,"
    " .trace-body dd, input[name=stream]"
)
"""What is never the same twice: moments, ids, digests, and what stands in their line."""

PLACES = """(chosen) => [...document.querySelectorAll(chosen)]
  .map((one) => one.getBoundingClientRect())
  .map((one) => [one.x - 4, one.y - 4, one.width + 60, one.height + 8])"""

SHARE = """async ([pictures, blank]) => {
  const data = [];
  for (const picture of pictures) {
    const bytes = Uint8Array.from(atob(picture), (one) => one.charCodeAt(0));
    const image = await createImageBitmap(new Blob([bytes]));
    const canvas = new OffscreenCanvas(image.width, image.height).getContext("2d");
    canvas.drawImage(image, 0, 0);
    blank.forEach((place) => canvas.clearRect(...place));
    data.push(canvas.getImageData(0, 0, image.width, image.height));
  }
  const [one, other] = data;
  if (one.width !== other.width || one.height !== other.height) return 1;
  let count = 0;
  for (let at = 0; at < one.data.length; at += 4) {
    const apart = [0, 1, 2].map((n) => Math.abs(one.data[at + n] - other.data[at + n]));
    if (Math.max(...apart) > 16) count += 1;
  }
  return count / (one.width * one.height);
}"""
"""The share of pixels in which two pictures differ, outside the places to blank."""

SAME = 0.001
"""A smaller share is chance as well: a letter more or less, a progress further on."""


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
        """Take the whole page; for the README only the visible part."""
        self.folder.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=self.folder / f"{name}.png", full_page=whole)
        if readme and self.readme:
            self.readme.mkdir(parents=True, exist_ok=True)
            renew(page, self.readme / f"{readme}.png")


def renew(page: Page, path: Path) -> None:
    """Take a new picture if the page looks different, and not only its moments and ids."""
    taken = page.screenshot()
    if not path.exists() or _share(page, path.read_bytes(), taken) > SAME:
        path.write_bytes(taken)


def _share(page: Page, *pictures: bytes) -> float:
    """How much of the page looks different in one picture and in the other."""
    chance = page.evaluate(PLACES, CHANCE)
    encoded = [base64.b64encode(picture).decode() for picture in pictures]
    # A page of its own: the console's policy is not to stand in the way.
    browser = page.context.browser
    assert browser
    blank = browser.new_page()
    share = float(blank.evaluate(SHARE, [encoded, chance]))
    blank.close()
    return share


def look_at(page: Page, name: str) -> None:
    """Check that the page fits every size; keep pictures in the folder that is named."""
    folder = os.environ.get("EXECFABRIC_PICTURES", "")
    page.bring_to_front()  # a page behind another is laid out late
    for scheme, (width, height) in LOOKS:
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        page.set_viewport_size({"width": width, "height": height})
        if folder:
            path = Path(folder) / f"{name}-{scheme}-{width}.png"
            page.screenshot(path=path, full_page=True)
        wide = pages.overflow(page)
        assert wide == [], wide
