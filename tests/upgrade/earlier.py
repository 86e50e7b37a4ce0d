"""Print what the previous release ships, as JSON: digests of code in both forms, schemas.

Run by that release's code with the folder of this release's `domain`: what it
finds on its path is the code of its time.
"""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import django

django.setup()

from orchestration.skills import builtin  # noqa: E402
from orchestration.skills.domain import code  # noqa: E402


def loaded(name: str) -> ModuleType:
    """Load a module of this release's skill domain in place of the previous one's."""
    spec = importlib.util.spec_from_file_location(name, Path(sys.argv[1], f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


now = loaded("code")
modules = builtin.MODULES.values()
digests = {code.digest_of(name): now.digest_of(name) for name in modules}
schemas = {
    action.handler: action.output_schema
    for skill in builtin.contracts()
    if skill.slug in builtin.MODULES
    for action in skill.actions
}
json.dump({"digests": digests, "schemas": schemas}, sys.stdout)
