"""The queue of what needs a person, and who takes care of each item."""

from dataclasses import replace
from datetime import datetime

from django.db import transaction

from audit import services as audit
from audit.services import Fact
from execfabric.lib.actor import Actor
from orchestration.runs import live, selectors
from orchestration.runs.control.attention_sources import SOURCES
from orchestration.runs.control.control import may_control
from orchestration.runs.domain.attention import AttentionItem, AttentionOwner
from orchestration.runs.errors import (
    AttentionTaken,
    AttentionUnknown,
    NotControllable,
)
from orchestration.runs.models import AttentionClaim, Run


def queue(by: Actor, *, at: datetime) -> list[AttentionItem]:
    """Return what needs a person in the runs that `by` may see, the oldest first."""
    runs = selectors.visible_to(by)
    items = {item.key: item for source in SOURCES for item in source(runs, at)}
    claims = AttentionClaim.objects.filter(key__in=items)
    for claim in claims if items else ():
        owner = AttentionOwner(
            key=claim.owner, name=claim.owner_name, since=claim.taken_at
        )
        items[claim.key] = replace(items[claim.key], owner=owner)
    return sorted(items.values(), key=lambda item: (item.since or at, item.key))


def take(*, key: str, by: Actor, at: datetime) -> AttentionItem:
    """Let a user take care of an item; taking it again changes nothing.

    :raises AttentionUnknown: when it no longer needs a person, or `by` may not see it
    :raises AttentionTaken: when another user takes care of it
    :raises NotControllable: when `by` may not control its run
    """
    item, run = _required(key, by, at)
    with transaction.atomic():
        # Two users may take it at once: the one who locks the stream first has it.
        audit.lock(run.stream)
        claim = AttentionClaim.objects.filter(key=key).first()
        if claim is not None and claim.owner != by.key:
            raise AttentionTaken(
                f"Cannot take it: {claim.owner_name} takes care of it.", key=key
            )
        if claim is None:
            _record("attention.taken", item, run, by=by, at=at)
            claim = AttentionClaim.objects.create(
                key=key, run=run, owner=by.key, owner_name=by.name, taken_at=at
            )
    owner = AttentionOwner(key=by.key, name=by.name, since=claim.taken_at)
    return replace(item, owner=owner)


def release(*, key: str, by: Actor, at: datetime) -> AttentionItem:
    """Let no one take care of an item, so that another user can take it.

    :raises AttentionUnknown: when it no longer needs a person, or `by` may not see it
    :raises NotControllable: when `by` may not control its run
    """
    item, run = _required(key, by, at)
    with transaction.atomic():
        audit.lock(run.stream)
        claim = AttentionClaim.objects.filter(key=key).first()
        if claim is not None:
            _record("attention.released", item, run, by=by, at=at, was=claim.owner_name)
            claim.delete()
    return replace(item, owner=None)


def _required(key: str, by: Actor, at: datetime) -> tuple[AttentionItem, Run]:
    item = next((item for item in queue(by, at=at) if item.key == key), None)
    if item is None:
        raise AttentionUnknown(key=key)
    run = selectors.get(by, item.run_id, needs=())
    if not may_control(run, by):
        raise NotControllable(run=str(run.pk))
    return item, run


def _record(
    kind: str, item: AttentionItem, run: Run, *, by: Actor, at: datetime, was: str = ""
) -> None:
    payload = {"item": item.key, "about": item.words.title, "message": item.text}
    if was:
        payload["was"] = was
    fact = Fact(kind, payload, item.step)
    audit.append(run.stream, [fact], by=by, at=at, trace_id=run.trace_id)
    live.run_changed(run.pk)
