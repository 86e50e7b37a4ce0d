"""Webhooks of saved plans: list, create, change, rotate, pause, resume and delete.

Other systems send to `/hooks/{id}`, which is not part of this API: its requests are signed.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from ninja import Field, Query, Router, Schema, Status

from execfabric.identity.http import ApiRequest, PeopleOnly, page
from execfabric.identity.paging import PageQuery, page_of
from execfabric.lib import clock
from orchestration.runs.api.saved_plans import Number
from orchestration.triggers import selectors
from orchestration.triggers.domain.firings import Outcome
from orchestration.triggers.domain.states import TriggerState
from orchestration.triggers.models import Delivery, Hook
from orchestration.triggers.services import hooks
from orchestration.triggers.services.hooks import HookSettings

router = Router(tags=["hooks"])
DELIVERIES = 50


class HookSettingsIn(Schema, extra="forbid"):
    """How a request becomes the inputs of a run."""

    name: Annotated[str, Field(max_length=200)]
    revision: Number | None = None
    """A revision of the plan; the newest at each delivery by default."""
    mapping: dict[str, str] | None = None
    """By name of an input: the JSON Pointer (RFC 6901) to its value in the body."""
    inputs: dict[str, Any] | None = None
    """The inputs that are the same for each run."""

    def settings(self) -> HookSettings:
        """Return the argument for the service."""
        return HookSettings(
            name=self.name,
            mapping=self.mapping or {},
            inputs=self.inputs or {},
            revision=self.revision,
        )


class HookChangeIn(HookSettingsIn, extra="forbid"):
    """All settings of a webhook, and the version of it that they replace."""

    version: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    """Refused if the webhook has another one by now; not compared if left out."""


class HookIn(HookSettingsIn, extra="forbid"):
    """A saved plan, and how a request becomes the inputs of its run."""

    plan: Annotated[str, Field(max_length=100)]


class HookRow(Schema):
    """A webhook in a list; its secret is never shown again."""

    id: UUID
    name: str
    plan: str = Field(alias="plan.slug")
    revision: int | None
    mapping: dict[str, str]
    inputs: dict[str, Any]
    owner: str
    owner_name: str
    state: TriggerState
    old_until: datetime | None
    """The time until which the secret before the last rotation is valid."""
    rejected: int
    """Requests without a valid signature."""
    created_at: datetime
    version: int
    """Incremented by each change."""
    address: str
    """The URL to which other systems send."""
    url: str

    @staticmethod
    def resolve_address(row: Hook, context: dict[str, Any]) -> str:
        return page(context["request"], "hook_deliver", row.pk)

    @staticmethod
    def resolve_url(row: Hook, context: dict[str, Any]) -> str:
        return page(context["request"], "hook", row.pk)


class HookList(Schema):
    """Webhooks in the order of their creation, and the cursor of the next page."""

    items: list[HookRow]
    next: UUID | None


class DeliveryRow(Schema):
    """A signed request to a webhook, and the run that it proposed."""

    webhook_id: str
    body_digest: str
    outcome: Outcome
    code: str
    message: str
    run_id: UUID | None
    at: datetime


class HookOut(HookRow):
    """A webhook with its last deliveries."""

    deliveries: list[DeliveryRow]

    @staticmethod
    def resolve_deliveries(row: Hook) -> list[Delivery]:
        return selectors.latest_deliveries(row, DELIVERIES)


class SecretOut(Schema):
    """A webhook, and its new secret, which is shown once."""

    hook: HookOut
    secret: str


@router.get("/hooks", response=HookList)
def list_hooks(request: ApiRequest, query: Query[PageQuery]) -> dict[str, Any]:
    """List the webhooks that the holder of the token may see."""
    return page_of(selectors.hooks_visible_to(request.auth), query)


@router.post("/hooks", response={201: SecretOut}, auth=PeopleOnly())
def create_hook(request: ApiRequest, body: HookIn) -> Status[dict[str, Any]]:
    """Create a webhook of a saved plan; the response has its secret, once.

    Its runs are proposed in the name of the holder of the token, who cannot approve them.
    """
    row, secret = hooks.create(
        slug=body.plan, settings=body.settings(), by=request.auth, at=clock.now()
    )
    return Status(201, {"hook": row, "secret": secret})


@router.get("/hooks/{uuid:hook_id}", response=HookOut)
def get_hook(request: ApiRequest, hook_id: UUID) -> Hook:
    """Return a webhook with its last deliveries."""
    return selectors.hook(request.auth, hook_id)


@router.post("/hooks/{uuid:hook_id}:change", response=HookOut, auth=PeopleOnly())
def change_hook(request: ApiRequest, hook_id: UUID, body: HookChangeIn) -> Hook:
    """Replace the settings of a webhook; its secret stays. Only for the owner."""
    return hooks.change(
        hook_id=hook_id,
        settings=body.settings(),
        version=body.version,
        by=request.auth,
        at=clock.now(),
    )


@router.post("/hooks/{uuid:hook_id}:rotate", response=SecretOut, auth=PeopleOnly())
def rotate_hook(request: ApiRequest, hook_id: UUID) -> dict[str, Any]:
    """Make a new secret; the old one stays valid for 24 hours. Only for the owner."""
    row, secret = hooks.rotate(hook_id=hook_id, by=request.auth, at=clock.now())
    return {"hook": row, "secret": secret}


@router.post("/hooks/{uuid:hook_id}:pause", response=HookOut, auth=PeopleOnly())
def pause_hook(request: ApiRequest, hook_id: UUID) -> Hook:
    """Pause a webhook: deliveries are refused until it is resumed."""
    return _act(hooks.pause, request, hook_id)


@router.post("/hooks/{uuid:hook_id}:resume", response=HookOut, auth=PeopleOnly())
def resume_hook(request: ApiRequest, hook_id: UUID) -> Hook:
    """Resume a paused webhook."""
    return _act(hooks.resume, request, hook_id)


@router.post("/hooks/{uuid:hook_id}:delete", response=HookOut, auth=PeopleOnly())
def delete_hook(request: ApiRequest, hook_id: UUID) -> Hook:
    """Delete a webhook; its deliveries stay in the audit log."""
    return _act(hooks.delete, request, hook_id)


def _act(act: Callable[..., Hook], request: ApiRequest, hook_id: UUID) -> Hook:
    return act(hook_id=hook_id, by=request.auth, at=clock.now())
