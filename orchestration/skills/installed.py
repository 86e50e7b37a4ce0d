"""The skills that come with the product, and the seam through which others come in.

A module of this package is imported when one of its handlers is first needed:
some of them bring heavy libraries along, and a chain of small steps should not
pay for those. Further modules are named, separated by commas, in the environment
variable `EXECFABRIC_EXTRA_HANDLERS`; each registers its handlers on import and
may offer its contracts as `SKILL` or `SKILLS`.
"""

import importlib
import os
from collections.abc import Mapping
from types import ModuleType

from orchestration.skills.domain import handlers
from orchestration.skills.domain.contract import SkillContract
from orchestration.skills.domain.guard import Allow
from orchestration.skills.domain.handlers import Registered

EXTRA = "EXECFABRIC_EXTRA_HANDLERS"

MODULES: Mapping[str, str] = {
    "command": "orchestration.skills.builtin.command.handlers",
    "data": "orchestration.skills.builtin.data.handlers",
    "files": "orchestration.skills.builtin.files.handlers",
    "git-operations": "orchestration.skills.builtin.git.handlers",
    "http": "orchestration.skills.builtin.http.handlers",
    "jira-write": "orchestration.skills.builtin.jira.handlers",
    "noop": "orchestration.skills.builtin.noop.handlers",
    "notify": "orchestration.skills.builtin.notify.handlers",
    "report": "orchestration.skills.builtin.report.handlers",
}
"""First part of a handler's key -> the module that registers it."""

_READS_GIT = tuple(
    f"git {command}"
    for command in (
        "cat-file",
        "check-ref-format",
        "diff-tree",
        "for-each-ref",
        "ls-tree",
        "reflog",
        "rev-list",
        "rev-parse",
        "worktree",
    )
)
_NATIVE: Mapping[str, Allow] = {
    "data.load@1": Allow(network=True),
    "data.unload@1": Allow(network=True),
    "jira-write.transition@1": Allow(network=True),
}


def allowance(handler: str) -> Allow:
    """What the handler may touch while it only looks: its dry run and target check."""
    if _prefix(handler) == "git-operations":
        return Allow(programs=_READS_GIT)
    return _NATIVE.get(handler, Allow())


def find(key: str) -> Registered | None:
    """The handler of that key, its module imported first where that is needed."""
    found = handlers.find(key)
    if found is not None:
        return found
    load(_prefix(key))
    return handlers.find(key)


def load(prefix: str) -> None:
    """Import what registers the handlers of that prefix; unknown ones may be extra."""
    name = MODULES.get(prefix)
    if name is None:
        _extras()
    else:
        importlib.import_module(name)


def load_all() -> None:
    """Import every built-in and extra module: the check at start-up compares all."""
    _every_module()


def contracts() -> tuple[SkillContract, ...]:
    """The contracts of every built-in and extra module, by slug."""
    found: list[SkillContract] = []
    for module in _every_module():
        found.extend(getattr(module, "SKILLS", ()))
        if hasattr(module, "SKILL"):
            found.append(module.SKILL)
    return tuple(sorted(found, key=lambda item: item.slug))


def _every_module() -> list[ModuleType]:
    named = [importlib.import_module(name) for _, name in sorted(MODULES.items())]
    return named + _extras()


def _extras() -> list[ModuleType]:
    names = [name.strip() for name in os.environ.get(EXTRA, "").split(",")]
    return [importlib.import_module(name) for name in names if name]


def _prefix(key: str) -> str:
    return key.partition(".")[0]
