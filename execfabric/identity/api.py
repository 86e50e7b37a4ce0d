"""The holder of the token of a request, and the tokens that they can revoke."""

from datetime import datetime
from uuid import UUID

from ninja import Router, Schema

from execfabric.identity import services
from execfabric.identity.authority import rights_of
from execfabric.identity.http import ApiRequest, PeopleOnly
from execfabric.identity.models import Token
from execfabric.lib import clock

router = Router(tags=["me"])


class MeOut(Schema):
    """The holder of the token and their current rights."""

    key: str
    kind: str
    id: str
    name: str
    owner: str | None
    rights: list[str]


@router.get("/me", response=MeOut)
def me(request: ApiRequest) -> MeOut:
    """Return the holder of the token."""
    by = request.auth
    return MeOut(
        key=by.key,
        kind=by.kind,
        id=by.id,
        name=by.name,
        owner=by.owner_key or None,
        rights=sorted(rights_of(by)),
    )


class TokenOut(Schema):
    """A token; its text is not stored."""

    id: UUID
    holder: str
    label: str
    state: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


class TokenList(Schema):
    """Tokens, newest first."""

    items: list[TokenOut]


@router.get("/tokens", response=TokenList, auth=PeopleOnly())
def list_tokens(request: ApiRequest) -> TokenList:
    """List your tokens and those of your agents."""
    tokens = services.tokens_of(request.auth)
    return TokenList(items=[_token(token) for token in tokens])


@router.post("/tokens/{uuid:token_id}:revoke", response=TokenOut, auth=PeopleOnly())
def revoke_token(request: ApiRequest, token_id: UUID) -> TokenOut:
    """Revoke a token of yours or of an agent of yours. Safe to repeat."""
    revoked = services.revoke_token(token_id=token_id, by=request.auth, at=clock.now())
    return _token(revoked)


def _token(token: Token) -> TokenOut:
    return TokenOut(
        id=token.pk,
        holder=token.holder_name(),
        label=token.label,
        state=token.state(clock.now()),
        created_at=token.created_at,
        expires_at=token.expires_at,
        revoked_at=token.revoked_at,
    )
