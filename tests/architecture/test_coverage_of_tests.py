"""Every state machine, skill contract and example plan has tests of its kind."""

import re
from importlib import import_module

import pytest

from approvals.domain.states import GATE
from orchestration.skills import installed
from tests.architecture.test_rules import PACKAGES, ROOT
from tests.unit import test_skill_contracts, test_states

MACHINE = re.compile(r"^(\w+)(?:: [^=]+)? = StateMachine\(", re.MULTILINE)
EXAMPLES = ROOT / "orchestration/plans/examples"


def machines() -> set[int]:
    """Return the identity of every machine that the product defines."""
    found = set()
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for name in MACHINE.findall(path.read_text(encoding="utf-8")):
                module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                found.add(id(getattr(import_module(module), name)))
    return found


@pytest.mark.promise("S3.93")
def test_every_machine_contract_and_example_plan_is_tested():
    in_tables = {id(one.values[0]) for one in test_states.EVERY_MACHINE}
    actions = {
        (skill.slug, action.name)
        for skill in installed.contracts()
        if skill.slug in installed.MODULES
        for action in skill.actions
    }
    contracts = [one.values for one in test_skill_contracts.ACTIONS]
    in_browser = (ROOT / "tests/browser/test_demo_plans.py").read_text(encoding="utf-8")

    assert len(machines()) > 5
    assert machines() == in_tables | {id(GATE)}
    assert actions == {(skill.slug, action.name) for skill, action in contracts}
    assert [
        path.stem for path in EXAMPLES.glob("*.yaml") if path.stem not in in_browser
    ] == []
