"""Create, change, pause, resume and delete webhooks, and rotate their secrets.

A secret is derived from a stored salt and `SECRET_KEY`, so the database does not hold
it. It is returned once, when it is made.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings as configured
from django.db import transaction

from execfabric.lib.actor import Actor
from orchestration.plans import selectors as plans
from orchestration.plans.domain import inputs
from orchestration.plans.models import Plan
from orchestration.plans.services import check
from orchestration.triggers import history, selectors
from orchestration.triggers.domain import webhooks
from orchestration.triggers.domain.states import TriggerEvent, TriggerState
from orchestration.triggers.errors import (
    FileNotHeld,
    HookChanged,
    HookUnknown,
    MappingInvalid,
)
from orchestration.triggers.models import Hook
from orchestration.triggers.services import common

OVERLAP = timedelta(hours=24)
"""The time for which the old secret stays valid after a rotation."""


@dataclass(frozen=True)
class HookSettings:
    """What the owner of a webhook chooses."""

    name: str
    mapping: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    revision: int | None = None

    def columns(self) -> dict[str, Any]:
        return {
            "name": self.name.strip(),
            "revision": self.revision,
            "inputs": dict(self.inputs),
            "mapping": dict(self.mapping),
        }


def create(
    *, slug: str, settings: HookSettings, by: Actor, at: datetime
) -> tuple[Hook, str]:
    """Create a webhook of a saved plan, which `by` then owns; return it and its secret.

    :raises TriggerNeedsPerson: when `by` is not a user
    :raises RightMissing: when `by` may not propose
    :raises PlanUnknown: when the plan does not exist or is hidden from `by`
    :raises PlanNotPermitted: when `by` may not start it
    :raises RevisionUnknown: when it does not have the revision
    :raises PlanInvalid: when the plan is no longer valid
    :raises FileNotHeld: when an input is a file
    :raises MappingInvalid: when the inputs do not fit the plan or cannot be stored
    :raises TriggerNameInvalid: when the name is empty or too long
    :raises TooManyTriggers: when `by` has too many
    """
    plan = common.startable(slug, by)
    _check(plan, settings, by)
    common.require_few(Hook.objects.all(), by)
    with transaction.atomic(durable=True):
        row = Hook.objects.create(
            plan=plan,
            **settings.columns(),
            owner=by.key,
            owner_name=by.name,
            salt=secrets.token_hex(32),
            created_at=at,
        )
        rows = [history.HOOK.born(row)]
        common.record(row, "hook.created", _facts(row), rows, by=by, at=at)
    return row, webhooks.secret_text(_derived(configured.SECRET_KEY, row.salt))


def change(
    *,
    hook_id: UUID,
    settings: HookSettings,
    version: int | None = None,
    by: Actor,
    at: datetime,
) -> Hook:
    """Change a webhook; its address and its secret stay the same.

    Only its owner can: who has the secret proposes in their name, with these inputs.
    The errors are those of `create`, and:

    :raises HookUnknown: when it does not exist or is hidden from `by`
    :raises TriggerNotManaged: when `by` is not its owner
    :raises HookChanged: when it no longer has the `version` that was edited
    """
    row = selectors.hook(by, hook_id)
    common.require_owner(by, row, "change a webhook")
    plan = common.startable(row.plan.slug, by)
    _check(plan, settings, by)
    with transaction.atomic(durable=True):
        row = common.locked(row)
        if row.state == TriggerState.DELETED:
            raise HookUnknown(hook=str(hook_id))
        if version is not None and row.version != version:
            raise HookChanged
        rows = [common.write(row, settings.columns())]
        common.record(row, "hook.changed", _facts(row), rows, by=by, at=at)
    return row


def _facts(row: Hook) -> dict[str, Any]:
    return {"plan": row.plan.slug, "revision": row.revision, "mapping": row.mapping}


def rotate(
    *, hook_id: UUID, version: int | None = None, by: Actor, at: datetime
) -> tuple[Hook, str]:
    """Make a new secret and return it; the old one stays valid for 24 hours.

    The old one is that before the first rotation of these 24 hours, which the sender has.

    :raises HookUnknown: when it does not exist or is hidden from `by`
    :raises TriggerNotManaged: when `by` is not its owner
    :raises HookChanged: when it no longer has the `version` that was shown
    """
    with transaction.atomic(durable=True):
        row = _managed(hook_id, by)
        common.require_owner(by, row, "rotate the secret of a webhook")
        if version is not None and row.version != version:
            raise HookChanged
        values: dict[str, Any] = {"salt": secrets.token_hex(32)}
        if not row.has_old_secret(at):
            values |= {"old_salt": row.salt, "old_until": at + OVERLAP}
        rows = [common.write(row, values)]
        common.record(row, "hook.secret_rotated", {}, rows, by=by, at=at)
    return row, webhooks.secret_text(_derived(configured.SECRET_KEY, row.salt))


def pause(*, hook_id: UUID, by: Actor, at: datetime) -> Hook:
    """Pause a webhook: deliveries are refused until it is resumed.

    :raises HookUnknown: when it does not exist or is hidden from `by`
    :raises TriggerNotManaged: when `by` is neither its owner nor an admin
    :raises IllegalTransition: when it is not active
    """
    return _move(hook_id, TriggerEvent.PAUSED, by=by, at=at)


def resume(*, hook_id: UUID, by: Actor, at: datetime) -> Hook:
    """Resume a paused webhook; the errors are those of `pause`."""
    return _move(hook_id, TriggerEvent.RESUMED, by=by, at=at)


def delete(*, hook_id: UUID, by: Actor, at: datetime) -> Hook:
    """Delete a webhook; its deliveries stay stored. The errors are those of `pause`."""
    return _move(hook_id, TriggerEvent.DELETED, by=by, at=at)


def valid_secrets(row: Hook, *, at: datetime) -> Iterator[bytes]:
    """Yield the secrets that a sender may use now, also with earlier `SECRET_KEY`s."""
    salts = [row.salt]
    if row.has_old_secret(at):
        salts.append(row.old_salt)
    for key in (configured.SECRET_KEY, *configured.SECRET_KEY_FALLBACKS):
        for salt in salts:
            yield _derived(key, salt)


def _derived(key: str, salt: str) -> bytes:
    message = f"execfabric/hook/v1\n{salt}".encode()
    return hmac.digest(key.encode(), message, hashlib.sha256)


def _move(hook_id: UUID, event: TriggerEvent, *, by: Actor, at: datetime) -> Hook:
    with transaction.atomic(durable=True):
        row = _managed(hook_id, by)
        rows = [common.write(row, common.moved(row, event))]
        common.record(row, f"hook.{event}", {}, rows, by=by, at=at)
    return row


def _managed(hook_id: UUID, by: Actor) -> Hook:
    """Return a webhook that `by` may change, locked."""
    return common.locked(common.require_managed(by, selectors.hook(by, hook_id)))


def _check(plan: Plan, settings: HookSettings, by: Actor) -> None:
    common.check_name(settings.name)
    webhooks.check_mapping(settings.mapping)
    revision = plans.revision(plan, settings.revision)
    document = check.check(text=revision.source, inputs=None, by=by).require_valid()
    schema = document.inputs_schema or {}
    _check_names(schema, settings)
    if files := sorted(inputs.file_inputs(schema) & _named(settings)):
        raise FileNotHeld(inputs=files)
    if wrong := inputs.refusal(settings.inputs):
        raise MappingInvalid(wrong)


def _check_names(schema: Mapping[str, Any], settings: HookSettings) -> None:
    named = _named(settings)
    if both := sorted(settings.inputs.keys() & settings.mapping.keys()):
        raise MappingInvalid(f"Duplicate input {both[0]!r}: it is fixed and mapped.")
    is_open = {"additionalProperties", "patternProperties"} & schema.keys()
    known = schema.get("properties", {}).keys()
    if not is_open and (unknown := sorted(named - known)):
        raise MappingInvalid(f"Unknown input {unknown[0]!r} of the plan.")
    if missing := sorted(set(schema.get("required", ())) - named):
        raise MappingInvalid(
            f"Missing input {missing[0]!r}: the plan requires it. Map it to a value of"
            " the body, or set it."
        )


def _named(settings: HookSettings) -> set[str]:
    return {*settings.inputs, *settings.mapping}
