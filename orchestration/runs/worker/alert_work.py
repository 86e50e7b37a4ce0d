"""Send alerts by mail and to a webhook, outside of all transactions.

A try is counted before it is made: if the worker dies, another one sends the alert again,
with the same id.
"""

import logging
from datetime import datetime, timedelta
from uuid import UUID

import httpx2
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.core.validators import validate_email
from django.db.models import F

from execfabric.identity.addresses import addresses
from execfabric.lib.clock import stamp
from orchestration.runs.domain.attention import AlertChannel
from orchestration.runs.models import Alert, AttentionClaim

MOST_TRIES = 8
FIRST_WAIT = timedelta(minutes=1)
"""The time until the second try, longer than any try takes; it doubles each time."""
TIMEOUT_S = 10
MAX_SUBJECT = 150
MAX_ERROR = 300
log = logging.getLogger(__name__)


class AlertNotSent(Exception):
    """The alert could not be sent, for a reason that can be shown."""


def work(*, alert_id: UUID, at: datetime) -> bool:
    """Try to send an alert that is due; an outdated hint does nothing."""
    alert = _claimed(alert_id, at)
    if alert is None:
        return False
    try:
        _SEND[AlertChannel(alert.channel)](alert)
    except Exception as error:  # noqa: BLE001  each failure is counted and shown
        _failed(alert, error, at)
        return False
    Alert.objects.filter(pk=alert.pk).update(sent_at=at, error="")
    return True


def _claimed(alert_id: UUID, at: datetime) -> Alert | None:
    """Count a try of an alert, so that no other worker tries it now."""
    rows = Alert.objects.filter(pk=alert_id, sent_at=None, given_up_at=None)
    alert = rows.filter(due_at__lte=at, tries__lt=MOST_TRIES).first()
    if alert is None:
        return None
    due_at = at + FIRST_WAIT * 2**alert.tries
    same = rows.filter(tries=alert.tries)
    if not same.update(tries=F("tries") + 1, due_at=due_at):
        return None
    alert.tries += 1
    return alert


def _failed(alert: Alert, error: Exception, at: datetime) -> None:
    is_last = alert.tries >= MOST_TRIES
    reason = str(error) if isinstance(error, AlertNotSent) else type(error).__name__
    log.warning(
        "Cannot send alert %s by %s (try %d of %d): %s",
        alert.pk,
        alert.channel,
        alert.tries,
        MOST_TRIES,
        reason,
    )
    Alert.objects.filter(pk=alert.pk).update(
        error=reason[:MAX_ERROR], given_up_at=at if is_last else None
    )


def _mail(alert: Alert) -> None:
    recipients = _recipients(alert)
    if not recipients:
        raise AlertNotSent("No operator, admin or owner has an e-mail address.")
    title = " ".join(alert.title.split())[:MAX_SUBJECT]
    message = EmailMessage(
        subject=f"[ExecFabric] {title}",
        body=f"{alert.text}\n\n{_address(alert)}\n\nAlert {alert.pk}\n",
        # Users do not see the addresses of others.
        bcc=recipients,
        headers={
            "Message-ID": f"<{alert.pk}@execfabric>",
            "X-ExecFabric-Alert": str(alert.pk),
            "Auto-Submitted": "auto-generated",
        },
    )
    message.send()


def _recipients(alert: Alert) -> list[str]:
    """Return the addresses of the owner; without one, of the proposer and operators."""
    key = alert.item.split(" ")[0]
    owner = AttentionClaim.objects.filter(key=key).values_list("owner", flat=True)
    found = addresses(list(owner)) if owner else []
    proposer = alert.run.proposer_owner or alert.run.proposer
    found = found or addresses([proposer], operators=True)
    return [address for address in found if _is_valid(address)]


def _is_valid(address: str) -> bool:
    """Return True for an address that cannot make the mail server refuse the others."""
    try:
        validate_email(address)
    except ValidationError:
        return False
    return True


def _post(alert: Alert) -> None:
    content = {
        "id": str(alert.pk),
        "title": alert.title,
        "text": alert.text,
        "item": alert.item.split(" ")[0],
        "run_id": str(alert.run_id),
        "url": _address(alert),
        "created_at": stamp(alert.created_at),
    }
    headers = {"Idempotency-Key": str(alert.pk)}
    try:
        with httpx2.stream(
            "POST",
            settings.ALERT_WEBHOOK_URL,
            json=content,
            headers=headers,
            timeout=TIMEOUT_S,
            follow_redirects=False,
        ) as answer:
            status, is_taken = answer.status_code, answer.is_success
    except httpx2.HTTPError as error:
        # Its message may contain the address, which may be secret.
        name = type(error).__name__
        raise AlertNotSent(f"Cannot reach the webhook ({name}).") from error
    if not is_taken:
        raise AlertNotSent(f"The webhook answered {status}.")


def _address(alert: Alert) -> str:
    return f"{settings.BASE_URL.rstrip('/')}{alert.path}"


_SEND = {AlertChannel.MAIL: _mail, AlertChannel.WEBHOOK: _post}
