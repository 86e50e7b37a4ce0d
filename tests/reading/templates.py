"""Strings of the interface in templates and scripts."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

from tests.reading.text import PACKAGES, UI, Text, product_files, relative

COMMENT = re.compile(r"\{#.*?#\}|\{% comment.*?endcomment %\}", re.DOTALL)
TAG = re.compile(r"\{%-?\s*(\w+)(.*?)%\}|\{\{.*?\}\}", re.DOTALL)
LITERAL = re.compile(r'"([^"]*)"')
SCRIPT_LITERAL = re.compile(r"([\"'`])([A-Z][^\"'`\n]* [^\"'`\n]*)\1")
OPENING = {"if", "for", "ifchanged", "with"}
MIDDLE = {"else", "elif", "empty"}
SILENT = {"load", "extends", "include", "csrf_token", "block", "endblock", "with"}
SILENT |= {"endwith", "cycle", "autoescape", "endautoescape", "htmx_script"}
READ = {"title", "aria-label", "placeholder", "alt", "data-confirm", "aria-description"}
INLINE = {"a", "abbr", "b", "code", "em", "i", "kbd", "small", "span", "strong", "time"}
UNREAD = {"script", "style", "pre"}
LETTERS = re.compile(r"[A-Za-z]{2}")
PLACEHOLDER = "{…}"


def texts() -> list[Text]:
    """Return the texts of every template and script of the product, in order."""
    found: set[Text] = set()
    for path in product_files("*.html", "templates", *PACKAGES):
        found.update(of_template(path, path.read_text(encoding="utf-8")))
    for path in product_files("*.js", "static"):
        found.update(_of_script(path))
    return sorted(found)


def of_template(path: Path, source: str) -> Iterator[Text]:
    """Yield the texts of one template."""
    source = COMMENT.sub(_blank, source)
    for match in TAG.finditer(source):
        for literal in LITERAL.findall(match[2] or ""):
            if " " in literal and literal[0].isalpha():
                line = source.count("\n", 0, match.start()) + 1
                yield Text(relative(path), line, UI, literal)
    reader = _Reader()
    reader.feed(TAG.sub(_placeholder, source))
    reader.close()
    reader.end_of_block()
    for line, words in reader.texts:
        yield Text(relative(path), line, UI, words)


def _of_script(path: Path) -> Iterator[Text]:
    for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        for match in SCRIPT_LITERAL.finditer(text):
            yield Text(relative(path), line, UI, match[2])


def _blank(match: re.Match[str]) -> str:
    return "\n" * match[0].count("\n")


def _placeholder(match: re.Match[str]) -> str:
    """Draw a choice as `[one / other]` and a value as `{…}`."""
    name, lines = match[1] or "", "\n" * match[0].count("\n")
    if name in OPENING:
        return f"[{lines}"
    if name in MIDDLE:
        return f" / {lines}"
    if name.startswith("end") and name[3:] in OPENING:
        return f"]{lines}"
    return lines if name in SILENT else PLACEHOLDER + lines


class _Reader(HTMLParser):
    """Joins the text of a block element and of the inline elements in it."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.texts: list[tuple[int, str]] = []
        self._parts: list[str] = []
        self._line = 0
        self._unread = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in INLINE:
            self.end_of_block()
        self._unread += tag in UNREAD
        for name, value in attrs:
            if name in READ and value and LETTERS.search(value):
                self.texts.append((self.getpos()[0], _tidy(value)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in INLINE:
            self.end_of_block()
        self._unread -= tag in UNREAD

    def handle_data(self, data: str) -> None:
        if self._unread:
            return
        if not self._parts and data.strip():
            before = len(data) - len(data.lstrip())
            self._line = self.getpos()[0] + data.count("\n", 0, before)
        self._parts.append(data)

    def end_of_block(self) -> None:
        """Store what was read since the last block element."""
        words, self._parts = _tidy("".join(self._parts)), []
        if LETTERS.search(words.replace(PLACEHOLDER, "")):
            self.texts.append((self._line, words))


def _tidy(words: str) -> str:
    """Join lines, and remove brackets whose partner is in another element."""
    words = " ".join(words.split())
    keep, stack = [True] * len(words), []
    for place, letter in enumerate(words):
        if letter == "[":
            stack.append(place)
        elif letter == "]":
            if stack:
                stack.pop()
            else:
                keep[place] = False
    for place in stack:
        keep[place] = False
    words = "".join(c for c, kept in zip(words, keep, strict=True) if kept)
    words = re.sub(r"\[[ /]*\]", "", words)
    return words.strip(" /·")
