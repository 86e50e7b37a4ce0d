"""The part of a gate's content that its page shows.

What the page collapses is named on it, opens on demand, and can be downloaded.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

from approvals.models import Gate
from approvals.views import subject as subjects
from approvals.views.subject import Action
from execfabric.web import values
from execfabric.web.values import Excerpt

ROWS = 200
"""Steps listed at once."""
OPEN_STEPS = 12
"""Up to this number, the steps of a plan are shown with their details."""
OPEN_LINES = 400
"""Lines of values shown with the steps of a plan."""
FILES = 100
"""Files that the template lists at once."""
TREE_BYTES = 32 * 1024
"""Content up to this size is also shown as a whole."""
WARNED = 20
"""Places named in the warning about deceptive characters."""


@dataclass(frozen=True)
class Block:
    """One value of the content: its title, its first lines and its JSON pointer."""

    caption: str
    part: Excerpt
    pointer: str


@dataclass(frozen=True)
class GateContent:
    """The content of a gate as its page shows it."""

    subject: Mapping[str, Any]
    size: int
    sha256: str
    """The SHA-256 of the downloaded file."""
    action: Action | None
    """For a step gate: its action."""
    blocks: tuple[Block, ...]
    steps: tuple[tuple[Action, tuple[Block, ...] | None], ...]
    """The steps listed, with their values or to be opened on demand."""
    first: int
    """The place of the first step listed, from 0."""
    total: int
    """How many steps the plan has."""
    files: list[Mapping[str, Any]]
    warnings: tuple[tuple[str, tuple[str, ...]], ...]
    """Where there are characters that can deceive, and which."""
    tree: Excerpt | None

    @property
    def end(self) -> int:
        """Return the index after the last listed step."""
        return self.first + len(self.steps)

    @property
    def following(self) -> int:
        """Return how many steps the next page lists."""
        return min(ROWS, self.total - self.end)

    @property
    def cut(self) -> list[Block]:
        """Return the collapsed values."""
        drawn = (self.blocks, *(blocks or () for _, blocks in self.steps))
        return [block for block in chain.from_iterable(drawn) if block.part.is_cut]

    @property
    def closed(self) -> int:
        """Return how many steps are collapsed."""
        return self.total - sum(blocks is not None for _, blocks in self.steps)

    @property
    def is_collapsed(self) -> bool:
        """Return True if any part of the content is collapsed."""
        return bool(self.cut or self.closed or len(self.files) > FILES)


def of(gate: Gate, *, first: int = 0) -> GateContent:
    """Return what the page of a gate shows, with the steps from `first` on."""
    body = bytes(gate.subject)
    subject = subjects.read(gate)
    is_plan = "steps" in subject
    action = None if is_plan else subjects.action_of(subject)
    total = len(subject["steps"]) if is_plan else 0
    listed = subjects.planned(subject, first, first + ROWS) if is_plan else []
    return GateContent(
        subject=subject,
        size=len(body),
        sha256=hashlib.sha256(body).hexdigest(),
        action=action,
        blocks=_blocks(subject, action),
        steps=tuple(_steps(listed, total)),
        first=first,
        total=total,
        files=subject.get("files", []),
        warnings=tuple(_warnings(subject, body)),
        tree=values.excerpt(subject) if len(body) <= TREE_BYTES else None,
    )


def step_blocks(action: Action) -> tuple[Block, ...]:
    """Return the values of one step of a plan gate."""
    at, before = f"/steps/{action.place}", f"/dry_run/steps/{action.preview_place}"
    params = "Parameters; references are filled in from earlier steps"
    return _filled(
        ("What would change", action.preview.get("changes"), f"{before}/changes"),
        (params, action.source.get("params"), f"{at}/params"),
        ("Parameters of its undo", action.undo_params, f"{at}/undo/params"),
    )


def _filled(*given: tuple[str, Any, str]) -> tuple[Block, ...]:
    return tuple(Block(name, values.excerpt(one), at) for name, one, at in given if one)


def _steps(
    listed: list[Action], total: int
) -> Iterator[tuple[Action, tuple[Block, ...] | None]]:
    room = OPEN_LINES if total <= OPEN_STEPS else 0
    for action in listed:
        blocks = step_blocks(action) if room > 0 else None
        room -= sum(block.part.lines for block in blocks or ())
        yield action, blocks


def _blocks(subject: Mapping[str, Any], action: Action | None) -> tuple[Block, ...]:
    if "unreadable" in subject:
        return ()
    caption, name = "Inputs, complete", "inputs"
    if action is not None and action.is_skill:
        caption, name = "Parameters, complete", "params"
    elif action is not None:
        caption, name = "What the question is about, complete", "context"
    undo_params = action.undo_params if action else {}
    return (
        Block(caption, values.excerpt(subject.get(name)), f"/{name}"),
        *_filled(
            ("Configuration of the skill", subject.get("config"), "/config"),
            ("Parameters of the undo", undo_params, "/undo/params"),
        ),
    )


def _warnings(
    subject: Mapping[str, Any], body: bytes
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Check the whole content, including the collapsed part."""
    if "unreadable" in subject or not values.warnings_in(subject, body):
        return
    named = 0
    for step in subject.get("steps", ()):
        if sentences := values.warnings_in(step):
            named += 1
            if named > WARNED:
                yield "and further steps", ()
                return
            yield f"step {step.get('id')}", sentences
    for name, value in subject.items():
        if name in {"steps", "plan", "dry_run"}:
            continue
        if sentences := values.warnings_in({name: value}):
            yield name, sentences
