"""Strings of the interface in YAML: contracts of built-in skills and example plans."""

from collections.abc import Iterator

import yaml

from tests.reading.text import UI, Text, product_files, relative

READ = {"summary", "description", "title", "name", "reason"}
LISTS = {"allowed", "forbidden"}


def texts() -> list[Text]:
    """Return the texts of every contract and example, in order."""
    return sorted(
        Text(relative(path), line, UI, words)
        for path in product_files("*.yaml", "orchestration")
        for line, words in _texts(yaml.compose(path.read_text(encoding="utf-8")))
    )


def _texts(node: yaml.Node | None) -> Iterator[tuple[int, str]]:
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _texts(item)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            items = value.value if key.value in LISTS else [value]
            for item in items if key.value in READ | LISTS else ():
                if isinstance(item, yaml.ScalarNode) and not item.value.islower():
                    yield item.start_mark.line + 1, " ".join(item.value.split())
            yield from _texts(value)
