"""What a tab is called: the title of a page holds no marks, so its text must."""

import re

import pytest

from orchestration.skills.models import Skill
from tests.builders import open_gate, plan, proposed, step
from tests.console_builders import signed_in

pytestmark = pytest.mark.usefixtures("registry")
NAME = "Pay\u202etfel p\u0430ypal\nnow"
SHOWN = "Pay⟦U+202E⟧tfel pа⟦U+0430⟧ypal ↵ now"


def title_of(client, address: str) -> str:
    page = client.get(address)
    assert page.status_code == 200
    found = re.search("<title>(.*?)</title>", page.content.decode(), re.DOTALL)
    assert found
    return found[1]


def test_runs_and_gates_are_called_by_the_plan_with_its_marks(
    proposer, operator
) -> None:
    run = proposed(plan(step("only"), name=NAME), proposer)
    client = signed_in(operator)

    for address in (f"/runs/{run.pk}", f"/gates/{open_gate(run).pk}"):
        assert title_of(client, address) == f"{SHOWN} · ExecFabric"


def test_the_pages_of_a_skill_are_called_by_it_with_its_marks(admin) -> None:
    Skill.objects.filter(slug="noop").update(name=NAME)
    version = Skill.objects.get(slug="noop").current_id
    client = signed_in(admin)

    for address in ("", "/edit", f"/versions/{version}"):
        assert SHOWN in title_of(client, f"/skills/noop{address}")
