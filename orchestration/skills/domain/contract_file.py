"""Read the contract of a built-in skill from its YAML file.

`!file` and `!files` are short for the JSON Schema of one file, and of one or several.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from orchestration.skills.domain.contract import (
    FILE_SCHEMA,
    FILES_SCHEMA,
    SkillContract,
    from_json,
)


class _Loader(yaml.CSafeLoader):
    """YAML with the tags of contracts."""


def _file(
    schema: Mapping[str, Any], loader: _Loader, node: yaml.MappingNode
) -> dict[str, Any]:
    words: dict[Any, Any] = loader.construct_mapping(node)
    return {**schema, **words}


_Loader.add_constructor("!file", partial(_file, FILE_SCHEMA))
_Loader.add_constructor("!files", partial(_file, FILES_SCHEMA))


def read(path: Path) -> SkillContract:
    """Read a contract."""
    return from_json(yaml.load(path.read_text(), _Loader))  # noqa: S506 - a SafeLoader
