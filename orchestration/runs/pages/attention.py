"""The values of the attention page: each item with its link."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse

from execfabric.lib.actor import Actor
from orchestration.runs.control import attention
from orchestration.runs.domain.attention import (
    WORDS,
    AttentionItem,
    AttentionKind,
)

SHOWN = 200
"""Maximum items on the page."""


@dataclass(frozen=True)
class AttentionLine:
    item: AttentionItem
    url: str
    """Where its next action is."""
    is_mine: bool


@dataclass(frozen=True)
class AttentionPage:
    lines: list[AttentionLine]
    total: int
    """The number of items without the filters."""
    kinds: dict[str, tuple[str, int]]
    """The title and the number of items of each kind that is in the queue."""
    kind: str
    mine: bool

    @property
    def more(self) -> int:
        return max(0, len(self.lines) - SHOWN)

    @property
    def stamp(self) -> str:
        """Return a digest of the list, by which the page detects a change."""
        rows = (
            f"{line.item.key} {line.item.text} {line.item.owner}" for line in self.lines
        )
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()[:16]


def view(
    by: Actor, *, at: datetime, kind: str = "", mine: bool = False
) -> AttentionPage:
    """Return the queue for one reader, of one kind or only what they take care of."""
    items = attention.queue(by, at=at)
    kind = kind if kind in set(AttentionKind) else ""
    counts = Counter(item.kind for item in items)
    lines = [AttentionLine(item, url_of(item), _is_mine(item, by)) for item in items]
    return AttentionPage(
        lines=[
            line
            for line in lines
            if kind in {"", line.item.kind} and (line.is_mine or not mine)
        ],
        total=len(items),
        kinds={
            str(each): (WORDS[each].title, counts[each])
            for each in AttentionKind
            if counts[each] or each == kind
        },
        kind=kind,
        mine=mine,
    )


def url_of(item: AttentionItem) -> str:
    """Return the address of the page with the next action for an item."""
    if item.gate_id is not None:
        return reverse("gate", args=[item.gate_id])
    if item.kind == AttentionKind.OUTCOME:
        return reverse("step_resolve", args=[item.run_id, item.address])
    in_run = {AttentionKind.INPUT_EXPIRED, AttentionKind.LATE, AttentionKind.SWEEP}
    if item.address and item.kind not in in_run:
        return reverse("step", args=[item.run_id, item.address])
    return reverse("run", args=[item.run_id])


def _is_mine(item: AttentionItem, by: Actor) -> bool:
    return item.owner is not None and item.owner.key == by.key
