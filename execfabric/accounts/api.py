"""Who the token in this request speaks for."""

from ninja import Router, Schema

from execfabric.accounts.authority import rights_of
from execfabric.accounts.http import ApiRequest

router = Router(tags=["me"])


class MeOut(Schema):
    """The holder of the token and what they may do now."""

    key: str
    kind: str
    id: str
    name: str
    owner: str | None
    rights: list[str]


@router.get("/me", response=MeOut)
def me(request: ApiRequest) -> MeOut:
    """The holder of the token."""
    by = request.auth
    return MeOut(
        key=by.key,
        kind=by.kind,
        id=by.id,
        name=by.name,
        owner=f"user:{by.owner_id}" if by.owner_id else None,
        rights=sorted(rights_of(by)),
    )
