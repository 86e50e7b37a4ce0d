"""Hints that a run has changed, for the pages and inboxes that show it."""

from functools import partial
from uuid import UUID

from django.db import transaction

from execfabric.infra import live


def group(run_id: UUID) -> str:
    return f"run.{run_id}"


def run_changed(run_id: UUID, *, gates: bool = False) -> None:
    """Hint, once the transaction has committed, that a run has changed.

    `gates` says whether one of them is about a gate, which inboxes show.
    """
    transaction.on_commit(partial(committed, run_id, gates=gates))


def committed(run_id: UUID, *, gates: bool) -> None:
    """Hint now, for a change that has been committed."""
    live.hint(group(run_id))
    if gates:
        live.hint(live.INBOX)
