"""Take a signed request to a webhook, and propose its run exactly once."""

import hashlib
from datetime import datetime
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import F

from execfabric.infra import throttle
from execfabric.lib import canonical
from execfabric.lib.actor import Actor, system
from execfabric.lib.canonical import NotCanonical
from execfabric.lib.refusal import Later, Refusal
from execfabric.web.problems import RequestUnreadable, check_texts
from orchestration.runs.control import proposals
from orchestration.runs.control.proposals import Origin
from orchestration.runs.models import Run
from orchestration.triggers import history
from orchestration.triggers.domain import webhooks
from orchestration.triggers.domain.firings import Outcome
from orchestration.triggers.domain.states import TriggerState
from orchestration.triggers.domain.webhooks import SignedHeaders
from orchestration.triggers.errors import (
    DeliveredBefore,
    HookPaused,
    HookUnknown,
    PayloadInvalid,
    TooManyDeliveries,
)
from orchestration.triggers.models import Delivery, Hook
from orchestration.triggers.services import common, hooks

BY: Actor = system("webhook")
LONGEST_REASON = 200


def deliver(
    *, hook_id: UUID, headers: dict[str, str], body: bytes, at: datetime
) -> Run:
    """Verify a request and propose its run; a repeated webhook-id returns the same run.

    :raises HookUnknown: when there is no such webhook
    :raises HookHeadersInvalid: when a header is missing or invalid
    :raises HookTimestampInvalid: when it was signed more than 5 minutes ago
    :raises HookSignatureInvalid: when the signature does not match
    :raises TooManyDeliveries: when it was sent too often
    :raises Refusal: when no run can be proposed; this is recorded
    """
    row = _hook(hook_id)
    signed = _verified(row, headers, body, at)
    _require_rate("hook", row)
    if run := _run_of(row, signed):
        return run
    delivery = Delivery(
        hook=row,
        webhook_id=signed.id,
        body_digest=hashlib.sha256(body).hexdigest(),
        at=at,
    )
    try:
        return _proposed(row, delivery, body, at, headers.get("traceparent", ""))
    except DeliveredBefore:
        if run := _run_of(row, signed):
            return run
        raise
    except Later:
        raise  # the sender tries again; a refusal would be wrong then
    except Refusal as refusal:
        _refused(row, delivery, refusal)
        raise


def _hook(hook_id: UUID) -> Hook:
    rows = Hook.objects.exclude(state=TriggerState.DELETED).select_related("plan")
    row = rows.filter(pk=hook_id).first()
    if row is None:
        raise HookUnknown(hook=str(hook_id))
    return row


def _verified(
    row: Hook, headers: dict[str, str], body: bytes, at: datetime
) -> SignedHeaders:
    """Return the headers of a signed request; count a request that is not signed."""
    try:
        signed = webhooks.headers_of(headers)
        secrets = hooks.valid_secrets(row, at=at)
        webhooks.verify(signed, body, secrets=secrets, at=at)
    except Refusal as refusal:
        # Only counted, and apart from signed requests: anyone can send these.
        _require_rate("hook-unsigned", row)
        Hook.objects.filter(pk=row.pk).update(
            rejected=F("rejected") + 1, rejected_at=at, rejected_code=refusal.code
        )
        raise
    return signed


def _require_rate(name: str, row: Hook) -> None:
    limit = throttle.RateLimit(name, settings.HOOKS_PER_MINUTE, 60)
    if wait := throttle.take(limit, str(row.pk)).wait:
        raise TooManyDeliveries(retry_after=wait)


def _run_of(row: Hook, signed: SignedHeaders) -> Run | None:
    """Return the run that was proposed for this webhook-id, if any."""
    runs = Run.objects.filter(delivery__hook=row, delivery__webhook_id=signed.id)
    return runs.first()


def _proposed(
    row: Hook, delivery: Delivery, body: bytes, at: datetime, traceparent: str
) -> Run:
    if not row.is_active:
        raise HookPaused
    owner = row.owned_by()
    common.require_active(owner)
    inputs = {**row.inputs, **webhooks.mapped(row.mapping, _payload(body))}
    return proposals.start(
        slug=row.plan.slug,
        inputs=inputs,
        number=row.revision,
        by=owner,
        at=at,
        origin=Origin(row.stream, lambda run: _record_run(row, delivery, run)),
        traceparent=traceparent,
    )


def _payload(body: bytes) -> Any:
    try:
        value = canonical.loads(body)
        canonical.check_depth(value)
        check_texts("", value)
    except (NotCanonical, RequestUnreadable) as error:
        # It quotes the body, and a refusal is stored for each request.
        reason = error.message
        if len(reason) > LONGEST_REASON:
            reason = f"{reason[:LONGEST_REASON]}..."
        raise PayloadInvalid(f"The body is not valid: {reason}") from None
    return value


def _record_run(row: Hook, delivery: Delivery, run: Run) -> None:
    """Record a delivery in the transaction that creates its run.

    :raises HookPaused: when the webhook has been paused or deleted meanwhile
    :raises DeliveredBefore: when another request with the same webhook-id was faster
    """
    current = common.locked(row)
    if not current.is_active:
        raise HookPaused
    if _run_exists(delivery):
        raise DeliveredBefore
    delivery.outcome, delivery.run = str(Outcome.PROPOSED), run
    facts = {"webhook_id": delivery.webhook_id, "run_id": str(run.pk)}
    _store(current, delivery, "hook.delivered", facts)


def _refused(row: Hook, delivery: Delivery, refusal: Refusal) -> None:
    """Record a refusal; the same one of the same webhook-id only once."""
    delivery.outcome, delivery.run = str(Outcome.REFUSED), None
    delivery.code, delivery.message = refusal.code, refusal.message
    with transaction.atomic(durable=True):
        current = common.locked(row)
        same = Delivery.objects.filter(hook=row, webhook_id=delivery.webhook_id)
        if same.filter(code=delivery.code).exists():
            return
        facts = {
            "webhook_id": delivery.webhook_id,
            "code": refusal.code,
            "message": refusal.message,
        }
        _store(current, delivery, "hook.refused", facts)


def _store(row: Hook, delivery: Delivery, kind: str, facts: dict[str, str]) -> None:
    delivery.save(force_insert=True)
    rows = [history.DELIVERY.born(delivery)]
    common.record(row, kind, facts, rows, by=BY, at=delivery.at)


def _run_exists(delivery: Delivery) -> bool:
    same = Delivery.objects.filter(hook=delivery.hook, webhook_id=delivery.webhook_id)
    return same.filter(run__isnull=False).exists()
