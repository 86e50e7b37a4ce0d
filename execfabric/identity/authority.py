"""Check the rights of users and agents.

Roles are Django groups. Rights are read from the database at each check, so a change
applies at once. An unknown actor has no rights.
"""

from execfabric.identity.errors import AgentsCannotDecide, RightMissing
from execfabric.identity.models import Agent, User
from execfabric.infra import database
from execfabric.lib.actor import Actor, ActorKind
from execfabric.lib.rights import OF_AGENTS, Right, rights_from

# Every page and service runs this, so it does not use the ORM.
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


def person_of(by: Actor) -> User | None:
    """Return the active user, or owner of the agent, whose rights limit `by`."""
    if by.kind is ActorKind.SYSTEM:
        return None
    if by.kind is ActorKind.AGENT:
        agents = Agent.objects.filter(pk=by.id, is_active=True).select_related("owner")
        agent = agents.first()
        return agent.owner if agent and agent.owner.is_active else None
    return User.objects.filter(pk=by.id, is_active=True).first()


def rights_of(by: Actor) -> frozenset[Right]:
    """Return the rights that `by` has now."""
    groups = _groups(by)
    if groups is None:
        return frozenset()
    rights = rights_from(groups)
    return rights & OF_AGENTS if by.kind is ActorKind.AGENT else rights


def _groups(by: Actor) -> frozenset[str] | None:
    """Return the groups of the active user or owner; None if there is none."""
    if by.kind is ActorKind.SYSTEM:
        return None
    statement = _OF_AGENT if by.kind is ActorKind.AGENT else _OF_PERSON
    names = database.rows(statement, [by.id])
    return frozenset(name for (name,) in names if name) if names else None


def require(by: Actor, right: Right) -> None:
    """Refuse unless `by` has the right now.

    :raises AgentsCannotDecide: if `by` is an agent and no agent can have the right
    :raises RightMissing: if `by` does not have the right
    """
    if by.kind is ActorKind.AGENT and right not in OF_AGENTS:
        raise AgentsCannotDecide(right=str(right))
    if right not in rights_of(by):
        raise RightMissing(right=str(right), actor=by.key)
