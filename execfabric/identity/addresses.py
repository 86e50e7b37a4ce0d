"""Find the e-mail addresses of users."""

from collections.abc import Collection

from django.db.models import Q

from execfabric.identity.models import User
from execfabric.lib.actor import ActorKind
from execfabric.lib.rights import RIGHTS, Right


def addresses(keys: Collection[str], *, operators: bool = False) -> list[str]:
    """Return the addresses of active users with these keys, and of all who control runs."""
    parts = (key.partition(":") for key in keys)
    ids = [
        int(pk) for kind, _, pk in parts if kind == ActorKind.USER and pk.isdecimal()
    ]
    wanted = Q(pk__in=ids)
    if operators:
        roles = [
            str(role) for role, rights in RIGHTS.items() if Right.CONTROL in rights
        ]
        wanted |= Q(groups__name__in=roles)
    rows = User.objects.filter(wanted, is_active=True).exclude(email="")
    return sorted(set(rows.values_list("email", flat=True)))
