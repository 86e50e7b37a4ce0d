"""Check the rights of users and agents.

Roles are Django groups. Rights are read from the database at each check, so a change
applies at once. An unknown actor has no rights.
"""

from execfabric.identity.errors import AgentsCannotDecide, RightMissing
from execfabric.identity.models import User
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
    active = User.objects.filter(is_active=True)
    if by.kind is ActorKind.AGENT:
        return active.filter(agents__pk=by.id, agents__is_active=True).first()
    return active.filter(pk=by.id).first()


def rights_of(by: Actor) -> frozenset[Right]:
    """Return the rights that `by` has now."""
    if by.kind is ActorKind.SYSTEM:
        return frozenset()
    is_agent = by.kind is ActorKind.AGENT
    names = database.rows(_OF_AGENT if is_agent else _OF_PERSON, [by.id])
    rights = rights_from({name for (name,) in names if name})
    return rights & OF_AGENTS if is_agent else rights


def may_manage(by: Actor, owner: str) -> bool:
    """Return True for the user with the key `owner` in person, and for admins."""
    if by.kind is not ActorKind.USER or person_of(by) is None:
        return False
    return owner == by.key or Right.REGISTRY in rights_of(by)


def require(by: Actor, right: Right) -> None:
    """Refuse unless `by` has the right now.

    :raises AgentsCannotDecide: if `by` is an agent and no agent can have the right
    :raises RightMissing: if `by` does not have the right
    """
    if by.kind is ActorKind.AGENT and right not in OF_AGENTS:
        raise AgentsCannotDecide(right=str(right))
    if right not in rights_of(by):
        raise RightMissing(right=str(right), actor=by.key)
