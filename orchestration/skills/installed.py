"""Find installed skills: the built-in ones, and those of further modules.

The module of a skill is imported when one of its handlers is first needed: some of
them import heavy libraries, and a chain of small steps should not pay for those.

The environment variable `EXECFABRIC_EXTRA_HANDLERS` names further modules, separated
by commas. Each registers its handlers on import and may offer its contracts as `SKILL`
or `SKILLS`.
"""

import importlib
import os
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

from orchestration.skills.domain import handlers
from orchestration.skills.domain.contract import (
    FILE_SCHEMA,
    FILES_SCHEMA,
    SkillContract,
    from_json,
)
from orchestration.skills.domain.guard import Allow
from orchestration.skills.domain.handlers import Registered

EXTRA = "EXECFABRIC_EXTRA_HANDLERS"
BUILTIN = "orchestration.skills.builtin"
FOLDER = Path(__file__).parent / "builtin"
FOLDERS: Mapping[str, str] = {
    "command": "command",
    "data": "data",
    "files": "files",
    "git-operations": "git",
    "http": "http",
    "jira-write": "jira",
    "noop": "noop",
    "notify": "notify",
    "report": "report",
}
"""Slug of a built-in skill, which is the first part of its handlers' keys -> folder."""
MODULES: Mapping[str, str] = {
    slug: f"{BUILTIN}.{folder}.handlers" for slug, folder in FOLDERS.items()
}

_READS_GIT = tuple(
    f"git {command}"
    for command in (
        *("cat-file", "check-ref-format", "diff-tree", "for-each-ref", "ls-tree"),
        *("reflog", "rev-list", "rev-parse", "worktree"),
    )
)
_USES_NETWORK = frozenset(
    {"data.load@1", "data.unload@1", "jira-write.transition@1"},
)


class _Loader(yaml.CSafeLoader):
    """YAML with `!file` and `!files`: the JSON Schema of one file, or of several."""


def _file(
    schema: Mapping[str, Any], loader: _Loader, node: yaml.MappingNode
) -> dict[str, Any]:
    words: dict[Any, Any] = loader.construct_mapping(node)
    return {**schema, **words}


_Loader.add_constructor("!file", partial(_file, FILE_SCHEMA))
_Loader.add_constructor("!files", partial(_file, FILES_SCHEMA))


def probe_allowance(handler: str) -> Allow:
    """Return what a probe may touch: its target over the network, and nothing to write."""
    return Allow(network=True, programs=allowance(handler).programs)


def allowance(handler: str) -> Allow:
    """Return what a handler may touch in its dry run and its target check.

    The handler does not decide it, because its own code is being limited.
    """
    if _slug(handler) == "git-operations":
        return Allow(programs=_READS_GIT)
    return Allow(network=handler in _USES_NETWORK)


def find(key: str) -> Registered | None:
    """Return the handler with this key; import its module first if needed."""
    if handlers.find(key) is None:
        load(_slug(key))
    return handlers.find(key)


def load(slug: str) -> None:
    """Import the handlers of a skill; for an unknown one, all extra modules."""
    if slug in MODULES:
        importlib.import_module(MODULES[slug])
        if (FOLDER / FOLDERS[slug] / "probes.py").exists():
            importlib.import_module(f"{BUILTIN}.{FOLDERS[slug]}.probes")
    else:
        _extra_modules()


@cache
def shipped(slug: str) -> SkillContract:
    """Return the contract that this release ships for a built-in skill."""
    text = (FOLDER / FOLDERS[slug] / "contract.yaml").read_text()
    return from_json(yaml.load(text, _Loader))  # noqa: S506 - a SafeLoader


def contracts() -> tuple[SkillContract, ...]:
    """Return the contracts of all built-in skills and extra modules by slug."""
    known = [shipped(slug) for slug in FOLDERS]
    for module in _extra_modules():
        known.extend(getattr(module, "SKILLS", ()))
        if hasattr(module, "SKILL"):
            known.append(module.SKILL)
    return tuple(sorted(known, key=lambda item: item.slug))


def _extra_modules() -> list[ModuleType]:
    names = [name.strip() for name in os.environ.get(EXTRA, "").split(",")]
    return [importlib.import_module(name) for name in names if name]


def _slug(key: str) -> str:
    return key.partition(".")[0]
