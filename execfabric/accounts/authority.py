"""What each role may do, and the one function that asks.

Roles are Django groups. Rights are read from the database at each question, so a
change applies at once. Whoever is not known has no rights.
"""

from collections.abc import Collection
from enum import StrEnum

from execfabric import database
from execfabric.accounts.errors import AgentsCannotDecide, RightMissing
from execfabric.accounts.models import Agent, User
from execfabric.lib.actor import Actor, ActorKind


class Role(StrEnum):
    """The four groups that the product knows."""

    PROPOSER = "proposer"
    OPERATOR = "operator"
    ADMIN = "admin"
    AUDITOR = "auditor"


class Right(StrEnum):
    """What a service may require."""

    PROPOSE = "propose"  # validate, dry-run and propose plans
    DECIDE = "decide"  # answer gates, where the gate's groups say so too
    CONTROL = "control"  # pause, resume and cancel any run
    SEE_ALL = "see_all"  # read every run, gate and plan
    REGISTRY = "registry"  # edit and publish skill versions
    CONFIG = "config"  # read the configuration of skills: paths, hosts, secret names
    POLICY = "policy"  # edit approval policies
    TRACE = "trace"  # browse and verify the whole record
    INDETERMINATE = "indeterminate"  # settle an unknown outcome of a step


RIGHTS: dict[Role, frozenset[Right]] = {
    Role.PROPOSER: frozenset({Right.PROPOSE}),
    Role.OPERATOR: frozenset(
        {
            Right.PROPOSE,
            Right.DECIDE,
            Right.CONTROL,
            Right.SEE_ALL,
            Right.TRACE,
            Right.INDETERMINATE,
        }
    ),
    Role.ADMIN: frozenset(
        {
            Right.PROPOSE,
            Right.DECIDE,
            Right.CONTROL,
            Right.SEE_ALL,
            Right.TRACE,
            Right.REGISTRY,
            Right.CONFIG,
            Right.POLICY,
            Right.INDETERMINATE,
        }
    ),
    Role.AUDITOR: frozenset({Right.SEE_ALL, Right.CONFIG, Right.TRACE}),
}

# Asked by every page and service, so without the ORM.
_OF_PERSON = """
SELECT role.name FROM accounts_user AS person
LEFT JOIN accounts_user_groups AS part ON part.user_id = person.id
LEFT JOIN auth_group AS role ON role.id = part.group_id
WHERE person.is_active AND person.id = %s
"""
_OF_AGENT = _OF_PERSON.replace(
    "person.id = %s",
    "person.id = (SELECT owner_id FROM accounts_agent WHERE is_active AND id = %s)",
)

OF_AGENTS = frozenset({Right.PROPOSE})
"""The most that an agent can have, whoever owns it."""


def person_of(by: Actor) -> User | None:
    """The active person whose rights bound `by`: themselves, or the agent's owner."""
    if by.kind is ActorKind.SYSTEM:
        return None
    if by.kind is ActorKind.AGENT:
        agent = Agent.objects.filter(pk=by.id, is_active=True).select_related("owner")
        found = agent.first()
        return found.owner if found and found.owner.is_active else None
    return User.objects.filter(pk=by.id, is_active=True).first()


def groups_of(by: Actor) -> frozenset[str]:
    """The groups that `by` speaks for now; none for the system and for agents."""
    if by.kind is not ActorKind.USER:
        return frozenset()
    return _groups(by) or frozenset()


def rights_of(by: Actor) -> frozenset[Right]:
    """What `by` may do now."""
    groups = _groups(by)
    if groups is None:
        return frozenset()
    rights = rights_from(groups)
    return rights & OF_AGENTS if by.kind is ActorKind.AGENT else rights


def rights_from(groups: Collection[str]) -> frozenset[Right]:
    """What a person in these groups may do; groups that are no role give nothing."""
    return frozenset().union(*(RIGHTS[role] for role in Role if role in groups))


def _groups(by: Actor) -> frozenset[str] | None:
    """The groups of the active person behind `by`, in one query; None for nobody."""
    if by.kind is ActorKind.SYSTEM:
        return None
    statement = _OF_AGENT if by.kind is ActorKind.AGENT else _OF_PERSON
    names = database.rows(statement, [by.id])
    return frozenset(name for (name,) in names if name) if names else None


def require(by: Actor, right: Right) -> None:
    """Refuse unless `by` has the right now.

    :raises AgentsCannotDecide: for an agent and any right that no agent can have
    :raises RightMissing: for everybody else who does not have it
    """
    if by.kind is ActorKind.AGENT and right not in OF_AGENTS:
        raise AgentsCannotDecide(right=str(right))
    if right not in rights_of(by):
        raise RightMissing(right=str(right), actor=by.key)
