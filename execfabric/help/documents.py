"""The documents in `docs/` as HTML: headings with anchors, links between pages."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path

import nh3
from django.conf import settings
from django.urls import reverse
from markdown_it import MarkdownIt
from markdown_it.token import Token

from execfabric.lib.refusal import Missing

FOLDER: Path = settings.BASE_DIR / "docs"
INDEX = "index"
LINK = re.compile(r"([\w-]+)\.md(#[\w-]+)?")
IMAGE = re.compile(r"images/([\w-]+\.png)")
NOT_IN_ANCHORS = re.compile(r"[^\w\- ]")
CONTENTS_LEVEL = "h2"
ATTRIBUTES = {
    **{heading: {"id"} for heading in ("h1", "h2", "h3", "h4")},
    "a": {"href"},
    "code": {"class"},
    "div": {"class", "tabindex"},
    "img": {"src", "alt"},
    "pre": {"tabindex"},
    "table": {"class"},
    "td": {"align"},
    "th": {"align"},
}


class DocumentUnknown(Missing):
    """Unknown help page. Choose one from the list on the help page."""

    code = "help.unknown"


@dataclass(frozen=True)
class Document:
    slug: str
    title: str
    html: str
    contents: tuple[tuple[str, str], ...]
    """Anchor and text of each second-level heading."""


@cache
def slugs() -> frozenset[str]:
    return frozenset(path.stem for path in FOLDER.glob("*.md"))


@cache
def images() -> frozenset[str]:
    return frozenset(path.name for path in (FOLDER / "images").glob("*.png"))


@lru_cache(maxsize=64)
def document(slug: str) -> Document:
    """Render a document; its file does not change while the process runs.

    :raises DocumentUnknown: for an unknown document
    """
    if slug not in slugs():
        raise DocumentUnknown(slug=slug)
    return render(slug, (FOLDER / f"{slug}.md").read_text(encoding="utf-8"))


def render(slug: str, text: str) -> Document:
    """Turn Markdown into HTML that holds no script, style or form."""
    markdown = MarkdownIt("commonmark").enable("table")
    tokens = markdown.parse(text)
    headings = list(_with_anchors(tokens))
    for token in _all(tokens):
        _point_into_the_console(token)
    html = markdown.renderer.render(tokens, markdown.options, {})
    html = html.replace(
        "<table>", '<div class="table-wrap" tabindex="0"><table class="table">'
    )
    html = html.replace("</table>", "</table></div>").replace(
        "<pre>", '<pre tabindex="0">'
    )
    return Document(
        slug=slug,
        title=next((words for _, _, words in headings), slug),
        html=nh3.clean(html, attributes=ATTRIBUTES, link_rel=None),
        contents=tuple(
            (anchor, words) for tag, anchor, words in headings if tag == CONTENTS_LEVEL
        ),
    )


def _with_anchors(tokens: list[Token]) -> Iterator[tuple[str, str, str]]:
    """Give each heading an id as GitHub does; yield its tag, id and text."""
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            words = "".join(child.content for child in inline.children or ())
            anchor = NOT_IN_ANCHORS.sub("", words.lower()).replace(" ", "-")
            opening.attrSet("id", anchor)
            yield opening.tag, anchor, words


def _all(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from token.children or ()


def _point_into_the_console(token: Token) -> None:
    """Replace the address of a file by that of its page."""
    if link := LINK.fullmatch(str(token.attrGet("href") or "")):
        token.attrSet("href", reverse("help_page", args=[link[1]]) + (link[2] or ""))
    if image := IMAGE.fullmatch(str(token.attrGet("src") or "")):
        token.attrSet("src", reverse("help_image", args=[image[1]]))
