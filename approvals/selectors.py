"""Read gates, decisions and policies, and who can decide."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import or_
from uuid import UUID

from django.db.models import Q, QuerySet

from approvals import voters
from approvals.domain import seats, verdict
from approvals.domain.eligibility import Standing, Why
from approvals.domain.policy import Rule
from approvals.domain.states import OPEN
from approvals.errors import GateUnknown
from approvals.models import Decision, Gate, Policy
from approvals.proof import Held
from approvals.voters import ballot
from execfabric.identity.authority import person_of, rights_of
from execfabric.infra import database
from execfabric.lib import canonical
from execfabric.lib.actor import Actor
from execfabric.lib.redaction import without_values
from execfabric.lib.rights import Right

MAY_SEE = (Why.PROPOSER, Why.EDITOR, Why.AGENT_OWNER)
INBOX_LIMIT = 200

ANY_POLICY = "SELECT EXISTS (SELECT FROM approvals_policy WHERE retired_at IS NULL)"
GATE_ROW = f"SELECT {database.columns(Gate)} FROM approvals_gate WHERE id = "
"""Select a whole gate; append its id, or a subquery that returns the id."""
DECISIONS = (
    f"SELECT {database.columns(Decision)} FROM approvals_decision"
    " WHERE gate_id = %s ORDER BY at, id"
)
"""The decisions on a gate; `%s` may be replaced by a query for its id."""
_PEOPLE = """
SELECT person.id, person.username, role.name FROM accounts_user AS person
LEFT JOIN accounts_user_groups AS part ON part.user_id = person.id
LEFT JOIN auth_group AS role ON role.id = part.group_id
WHERE person.is_active AND
"""
_OF_GATE = """person.id IN (
  SELECT substr(voter_key, 6)::bigint FROM approvals_decision WHERE gate_id = %s)
"""
VOTERS = f"{_PEOPLE} {_OF_GATE}"
"""The active voters on a gate, a row for each of their groups."""
_VOTERS_AND = f"{_PEOPLE} (person.id = %s OR {_OF_GATE})"


@dataclass(frozen=True)
class StillEligible:
    """The approvals of one group: required, given, and who can still decide."""

    group: str
    count: int
    have: int
    people: tuple[str, ...]


def visible_to(by: Actor) -> QuerySet[Gate]:
    """Return the gates that an actor can see: all, or those of their proposals."""
    if Right.SEE_ALL in rights_of(by):
        return Gate.objects.all()
    if person_of(by) is None:
        return Gate.objects.none()
    own = (Q(excluded__contains=[{"key": by.key, "why": str(why)}]) for why in MAY_SEE)
    return Gate.objects.filter(reduce(or_, own))


def context_of(*, by: Actor, gate_id: UUID) -> tuple[UUID, str]:
    """Return the context of a gate and the kind of its subject.

    :raises GateUnknown: when there is none, or `by` may not see it
    """
    found = visible_to(by).filter(pk=gate_id)
    for context_id, kind in found.values_list("context_id", "subject_kind"):
        return context_id, kind
    raise GateUnknown(gate=str(gate_id))


def readable(*, by: Actor, gate_id: UUID) -> Gate:
    """Return a gate; hide configuration if `by` sees only their own gates.

    The digest stays that of the whole content, so these readers cannot recompute it.

    :raises GateUnknown: when there is none, or `by` may not see it
    """
    found = visible_to(by).filter(pk=gate_id).first()
    if found is None:
        raise GateUnknown(gate=str(gate_id))
    if Right.SEE_ALL not in rights_of(by):
        found.subject = _without_config(bytes(found.subject))
    return found


def _without_config(subject: bytes) -> bytes:
    try:
        value = canonical.loads(subject)
    except canonical.NotCanonical:
        return b'"This content cannot be read."'
    hidden = {
        name: without_values(value[name])
        for name in ("config", "secrets")
        if name in value
    }
    return canonical.dumps({**value, **hidden}) if hidden else subject


def inbox(*, by: Actor, at: datetime, mine: Standing | None = None) -> list[Gate]:
    """List the gates where an approval by this person would count, oldest first.

    `mine` saves a query if the caller has read the person's groups.
    """
    mine = mine or voters.standing(by)
    if mine is None or not mine.has_right:
        return []
    asked = (Q(requirements__contains=[{"group": group}]) for group in mine.groups)
    found = (
        Gate.objects.filter(reduce(or_, asked), status__in=OPEN, expires_at__gt=at)
        .exclude(excluded__contains=[{"key": by.key}])
        .exclude(decisions__voter_key=by.key)
        .defer("subject")
        .prefetch_related("decisions")
        .order_by("requested_at", "id")[:INBOX_LIMIT]
    )
    gates = list(found)
    given = {d.voter_key for gate in gates for d in gate.decisions.all()}
    people = voters.standing_of(given)
    return [
        gate
        for gate in gates
        if verdict.would_count(
            mine.groups,
            [ballot(decision, people) for decision in gate.decisions.all()],
            requirements=gate.required(),
            excluded=gate.excluded_keys(),
        )
    ]


def still_eligible(gate: Gate) -> list[StillEligible]:
    """Return the approvals of each group, and who can still decide."""
    return still_eligible_of({gate: decisions(gate)})[gate]


def still_eligible_of(
    given: Mapping[Gate, Sequence[Decision]],
) -> dict[Gate, list[StillEligible]]:
    """Return the approvals of each group for many gates, with one query."""
    asked = {item.group for gate in given for item in gate.required()}
    given_by = {d.voter_key for decisions in given.values() for d in decisions}
    people = voters.members(asked, given_by)
    return {gate: _eligible(gate, said, people) for gate, said in given.items()}


def _eligible(
    gate: Gate, given: Sequence[Decision], people: dict[str, Standing]
) -> list[StillEligible]:
    requirements = seats.merge(gate.required())
    approvers = {
        d.voter_key: ballot(d, people).groups
        for d in given
        if d.approve and d.voter_key not in gate.excluded_keys()
    }
    seated = seats.seat(requirements, approvers)
    done = gate.excluded_keys() | {decision.voter_key for decision in given}
    return [
        StillEligible(
            group=requirement.group,
            count=requirement.count,
            have=len(seated[requirement.group]),
            people=tuple(
                sorted(
                    person.name
                    for key, person in people.items()
                    if key not in done and requirement.group in person.speaks_for
                )
            ),
        )
        for requirement in requirements
    ]


def decisions(gate: Gate) -> list[Decision]:
    return decisions_of([gate])[gate]


def decisions_of(gates: Iterable[Gate]) -> dict[Gate, list[Decision]]:
    """Return the decisions on many gates, oldest first."""
    by_id = {gate.pk: gate for gate in gates}
    found: dict[Gate, list[Decision]] = {gate: [] for gate in by_id.values()}
    for decision in Decision.objects.filter(gate__in=by_id).order_by("at", "pk"):
        found[by_id[decision.gate_id]].append(decision)
    return found


def held(gate_id: UUID, *, voter: str | None = None) -> Held:
    """Lock a gate and read its decisions and the current groups of its voters.

    `voter` is the id of a person who is about to decide, and is read with them.

    :raises GateUnknown: when there is none
    """
    gate_row, given, people = database.pipelined(
        [
            (f"{GATE_ROW} %s FOR UPDATE", [gate_id]),
            (DECISIONS, [gate_id]),
            (_VOTERS_AND, [voter, gate_id]),
        ]
    )
    found = gate_row.fetchone()
    if found is None:
        raise GateUnknown(gate=str(gate_id))
    gate: Gate = database.instance(Gate, found)
    return held_from(gate, given.fetchall(), people.fetchall())


def held_from(
    gate: Gate, decided: Iterable[database.Row], voted: Iterable[database.Row]
) -> Held:
    """Build a `Held` from the rows of `DECISIONS` and `VOTERS`."""
    decisions = [database.instance(Decision, row) for row in decided]
    return Held(gate, decisions, voters.standing_from(voted))


def of_context(context_id: UUID) -> QuerySet[Gate]:
    return Gate.objects.filter(context_id=context_id).order_by("id")


def expired_gates(
    *, at: datetime, skip: Collection[UUID], limit: int
) -> list[tuple[UUID, UUID]]:
    """Return the context and id of expired open gates, oldest first.

    Gates of the contexts in `skip` are left out.
    """
    found = Gate.objects.filter(status__in=OPEN, expires_at__lte=at)
    due = found.exclude(context_id__in=skip).order_by("expires_at")
    return list(due.values_list("context_id", "pk")[:limit])


def policies_in_force() -> list[Rule]:
    found = Policy.objects.filter(retired_at__isnull=True).order_by("order", "name")
    return [policy.rule() for policy in found]
