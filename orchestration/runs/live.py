"""Notify pages and inboxes that a run has changed."""

from functools import partial
from uuid import UUID

from django.db import transaction

from execfabric.infra import live


def group(run_id: UUID) -> str:
    return f"run.{run_id}"


def run_changed(run_id: UUID, *, gates: bool = False) -> None:
    """Notify pages of a change once its transaction has committed.

    `gates` is True if an event is about a gate, which inboxes show.
    """
    transaction.on_commit(partial(committed, run_id, gates=gates))


def committed(run_id: UUID, *, gates: bool) -> None:
    """Notify pages now of a committed change."""
    live.hint(group(run_id))
    if gates:
        live.hint(live.INBOX)
