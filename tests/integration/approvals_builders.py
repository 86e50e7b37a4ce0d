"""People and gates for the tests of `approvals`."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib.auth.models import Group
from django.db import transaction

from approvals.domain.eligibility import Exclusion, exclusions
from approvals.domain.seats import Requirement
from approvals.errors import GateDoesNotHold
from approvals.models import Gate
from approvals.services import decisions
from approvals.services import gates as approvals
from approvals.services.decisions import Recorded
from approvals.services.gates import GateChange
from audit import selectors as record
from audit import services as audit
from execfabric.identity.models import Agent, User
from execfabric.lib import canonical
from execfabric.lib.actor import Actor, ActorKind, system
from execfabric.lib.ids import trace_id, uuid7

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LATER = NOON + timedelta(minutes=5)
OVER = NOON + timedelta(hours=1)
OPERATOR = (Requirement("operator", 1),)
OPERATOR_AND_LEGAL = (Requirement("operator", 1), Requirement("legal", 1))
DOMAIN = "execfabric/action/v1"
ENGINE = system("engine")
STRANGER = Actor(ActorKind.USER, "999999", "somebody-else")


def a_person(name: str, *groups: str, active: bool = True) -> Actor:
    """Create an account in these groups and return it as an actor."""
    user = User.objects.create(username=name, is_active=active)
    user.groups.set(Group.objects.get_or_create(name=group)[0] for group in groups)
    return user.actor()


def an_agent(name: str, owner: Actor) -> Actor:
    """Create an agent of `owner` and return it as an actor."""
    agent = Agent.objects.create(name=name, owner_id=owner.id, created_at=NOON)
    return agent.actor()


def leaves(person: Actor, group: str) -> None:
    """Take somebody out of a group."""
    User.objects.get(pk=person.id).groups.remove(Group.objects.get(name=group))


def deactivate(person: Actor) -> None:
    """Close somebody's account without deleting it."""
    User.objects.filter(pk=person.id).update(is_active=False)


def a_subject(
    *requirements: Requirement,
    by: Actor = STRANGER,
    excluded: Sequence[Exclusion] = (),
    **facts: Any,
) -> Gate:
    """Build a new gate, proposed by `by`."""
    run = uuid7()
    value = {"run": str(run), "params": {"to": "published/", "rows": 3}}
    known: dict[str, Any] = {
        "subject_kind": "step",
        "subject_id": uuid7(),
        "context_id": run,
        "stream": f"run/{run}",
        "trace_id": trace_id(),
        "step": "publish",
        "label": "Publish the report",
        "subject": canonical.dumps(value),
        "digest_domain": DOMAIN,
        "requirements": [one.as_fact() for one in requirements or OPERATOR],
        "excluded": [one.as_fact() for one in excluded or exclusions(proposer=by)],
        "reasons": ["Customers will see this."],
        "policy_versions": [],
        "risk": "high",
        "expires_at": OVER,
    }
    return Gate(**(known | facts))


def a_gate(*requirements: Requirement, by: Actor = STRANGER, **facts: Any) -> Gate:
    """Open a gate; the default proposer gets an account."""
    if by is STRANGER:
        User.objects.get_or_create(pk=by.id, defaults={"username": by.name})
    return opened(a_subject(*requirements, by=by, **facts))


def opened(gate: Gate, at: datetime = NOON) -> Gate:
    """Open a gate and append its facts."""
    with transaction.atomic():
        return recorded(approvals.open_gate(gate, at=at), at=at)


def superseded(gate: Gate, *, reason: str = "edited", found: str = "ff") -> Gate:
    """Void the gate because its subject has changed, and append its facts."""
    with transaction.atomic():
        change = approvals.supersede(
            gate_id=gate.pk, found_digest=found, reason=reason, at=LATER
        )
        return recorded(change, at=LATER)


def withdrawn(gate: Gate, reason: str = "The run was cancelled.") -> Gate:
    """Close a gate that is no longer needed, and append its facts."""
    with transaction.atomic():
        change = approvals.withdraw(gate_id=gate.pk, reason=reason, at=LATER)
        return recorded(change, at=LATER)


def expired(gate: Gate, at: datetime = OVER) -> Gate | None:
    """Expire the gate if it is due; return None if nothing has changed."""
    with transaction.atomic():
        change = approvals.expire(gate_id=gate.pk, at=at)
        return recorded(change, at=at) if change else None


def recorded(change: GateChange, *, at: datetime, by: Actor = ENGINE) -> Gate:
    """Append the gate's facts to its stream, as its run does, and return the gate."""
    gate = change.gate
    audit.append(gate.stream, change.facts, by=by, at=at, trace_id=gate.trace_id)
    return gate


def answer(gate: Gate, by: Actor, **said: Any) -> Recorded:
    """One person's answer, as an interface sends it."""
    known: dict[str, Any] = {
        "approve": True,
        "digest": gate.digest_hex,
        "comment": "",
        "channel": "page",
        "proposer_active": True,
        "at": LATER,
    }
    known |= said
    with transaction.atomic():
        answered = decisions.record_decision(gate_id=gate.pk, by=by, **known)
        recorded(answered, by=by, at=known["at"])
        return answered


def status(gate: Gate) -> str:
    """Return the current row of the gate."""
    return Gate.objects.values_list("status", flat=True).get(pk=gate.pk)


def told(gate: Gate) -> list[tuple[str, dict[str, Any]]]:
    """Return the kinds and payloads of the gate's stream, in order."""
    events = record.events_after(gate.stream, 0)
    return [(event.kind, record.envelope(event)["payload"]) for event in events]


def kinds(gate: Gate) -> list[str]:
    """Return the kinds of the gate's stream, in order."""
    return [kind for kind, _ in told(gate)]


def holds_why(gate: Gate, digest: bytes | None = None, at: datetime = LATER) -> str:
    """Why an approval does not hold now; empty when it does."""
    found = bytes(gate.digest) if digest is None else digest
    try:
        with transaction.atomic():
            approvals.holds(gate_id=UUID(str(gate.pk)), digest=found, at=at)
    except GateDoesNotHold as error:
        return str(error.details["why"])
    return ""
