"""Save plans, and give rights on them."""

from typing import Any

from audit import selectors as record
from execfabric.identity.models import User
from execfabric.lib import clock
from execfabric.lib.actor import Actor
from orchestration.plans.domain.rights import PlanRight
from orchestration.plans.models import Plan, PlanRevision
from orchestration.plans.services import rights, saving
from orchestration.plans.services.saving import STREAM
from orchestration.runs.control import proposals
from orchestration.runs.models import Run
from tests.builders import plan, step

INPUTS = {"properties": {"word": {"type": "string"}}, "required": ["word"]}
TEXT = plan(step("a", params={"value": "$inputs.word"}), inputs=INPUTS)
OTHER = plan(step("b", "risky", params={"value": "$inputs.word"}), inputs=INPUTS)
VIEW = PlanRight.VIEW


def save(text: str, by: User | Actor) -> PlanRevision:
    actor = by if isinstance(by, Actor) else by.actor()
    return saving.save_plan(text=text, by=actor, at=clock.now())


def start(by: User | Actor, **options: Any) -> Run:
    actor = by if isinstance(by, Actor) else by.actor()
    options = {"slug": "lab-plan", "inputs": {"word": "x"}} | options
    return proposals.start(**options, by=actor, at=clock.now())


def grant(right: PlanRight, by: User, **holder: str) -> Plan:
    return rights.grant(
        slug="lab-plan", right=right, **holder, by=by.actor(), at=clock.now()
    )


def events() -> list[tuple[str, dict[str, Any]]]:
    rows = record.events_after(STREAM, 0, limit=100)
    return [(row.kind, record.envelope(row)["payload"]) for row in rows]
