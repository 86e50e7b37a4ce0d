"""Store an alert for each new item of the attention queue, and have it sent.

A worker sends it, so that a mail server that does not answer delays no sweep.
"""

import logging
import time
from collections.abc import Iterable
from datetime import datetime

from django.conf import settings
from django.db import connection, transaction

from execfabric.infra import database
from execfabric.lib.clock import stamp
from orchestration.runs import dispatch
from orchestration.runs.control.attention_sources import SOURCES
from orchestration.runs.domain.attention import AlertChannel, AttentionItem
from orchestration.runs.models import Alert, Run
from orchestration.runs.pages.attention import url_of
from orchestration.runs.worker.alert_work import MOST_TRIES

EVERY_S = 5.0
HINT_AGAIN_S = 30
HINTED = 50
"""Alerts that one look hints at."""
log = logging.getLogger(__name__)

_DUE = """
UPDATE runs_alert SET hinted_at = %s WHERE id IN (
  SELECT id FROM runs_alert
  WHERE sent_at IS NULL AND given_up_at IS NULL AND due_at <= %s
    AND (hinted_at IS NULL OR hinted_at < greatest(due_at, %s - %s * interval '1 s'))
  ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED
) RETURNING id
"""


class AlertDuty:
    """Looks for new items every few seconds."""

    def __init__(self) -> None:
        self._next_look = 0.0

    def sweep(self, at: datetime) -> int:
        """Store and hint at alerts; return how many were hinted at."""
        now = time.monotonic()
        if now < self._next_look:
            return 0
        self._next_look = now + EVERY_S
        store_new(at)
        return hint_due(at)


def channels() -> list[AlertChannel]:
    """Return the channels that the environment configures."""
    configured = {
        AlertChannel.MAIL: settings.ALERT_MAIL,
        AlertChannel.WEBHOOK: settings.ALERT_WEBHOOK_URL,
    }
    return [channel for channel, value in configured.items() if value]


def store_new(at: datetime) -> None:
    """Store an alert for each item that has none, on each configured channel."""
    to = channels()
    items = list(_items(at)) if to else []
    wanted = {(_name(item), channel): item for item in items for channel in to}
    known = Alert.objects.filter(item__in={name for name, _ in wanted})
    stored = set(known.values_list("item", "channel")) if wanted else set()
    new = [
        _alert(item, name, channel, at)
        for (name, channel), item in wanted.items()
        if (name, channel) not in stored
    ]
    # Another keeper may store the same ones now.
    Alert.objects.bulk_create(new, ignore_conflicts=True)


def _items(at: datetime) -> Iterable[AttentionItem]:
    for source in SOURCES:
        try:
            yield from source(Run.objects.all(), at)
        except Exception:
            # What one source cannot read does not silence the others.
            log.exception("Cannot look for alerts: %s failed.", source.__name__)
            database.restore()


def _name(item: AttentionItem) -> str:
    """Return what is alerted once: the same item at another time is another alert."""
    return f"{item.key} {stamp(item.since) if item.since else ''}".strip()


def _alert(
    item: AttentionItem, name: str, channel: AlertChannel, at: datetime
) -> Alert:
    step = f", step {item.step}" if item.step else ""
    return Alert(
        item=name,
        channel=channel,
        run_id=item.run_id,
        title=f"{item.words.title}: {item.plan}{step}"[:300],
        text=f"{item.text} Next: {item.words.action}.",
        path=url_of(item),
        created_at=at,
        due_at=at,
    )


def hint_due(at: datetime) -> int:
    """Hint workers at alerts that are due; give up those that were tried too often."""
    spent = Alert.objects.filter(sent_at=None, given_up_at=None, tries__gte=MOST_TRIES)
    spent.filter(due_at__lte=at).update(given_up_at=at)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(_DUE, [at, at, at, HINT_AGAIN_S, HINTED])
        ids = [str(pk) for (pk,) in cursor.fetchall()]
    dispatch.send_tasks(dispatch.ALERT, [{"alert_id": pk} for pk in ids])
    return len(ids)
