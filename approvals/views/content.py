"""The part of a gate's content that its page shows.

The page names each collapsed part, which opens on demand and can be downloaded.
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
"""Maximum number of steps in one list."""
OPEN_STEPS = 12
"""Up to this number, the steps of a plan are shown with their details."""
OPEN_LINES = 400
"""Lines of values shown with the steps of a plan."""
FILES = 100
"""Maximum number of files in one list of the template."""
TREE_BYTES = 32 * 1024
"""Content up to this size is also shown as a whole."""
WARNED = 20
"""Steps named in the warning about deceptive characters."""
Warned = tuple[str, tuple[str, ...]]
"""A place with deceptive characters, and the warnings about it."""


@dataclass(frozen=True)
class Block:
    """One value of the content: its title, its first lines and its JSON pointer."""

    caption: str
    part: Excerpt
    pointer: str


@dataclass(frozen=True)
class GateContent:
    subject: Mapping[str, Any]
    size: int
    sha256: str
    """The SHA-256 of the downloaded file."""
    action: Action | None
    blocks: tuple[Block, ...]
    steps: tuple[tuple[Action, tuple[Block, ...] | None], ...]
    """The steps listed, with their values or to be opened on demand."""
    first: int
    """The index of the first listed step, from 0."""
    total: int
    files: list[Mapping[str, Any]]
    warnings: list[Warned]
    tree: Excerpt | None

    @property
    def end(self) -> int:
        return self.first + len(self.steps)

    @property
    def following(self) -> int:
        """Return how many steps the next page lists."""
        return min(ROWS, self.total - self.end)

    @property
    def cut(self) -> list[Block]:
        drawn = (self.blocks, *(blocks or () for _, blocks in self.steps))
        return [block for block in chain.from_iterable(drawn) if block.part.is_cut]

    @property
    def closed(self) -> int:
        return self.total - sum(blocks is not None for _, blocks in self.steps)

    @property
    def is_collapsed(self) -> bool:
        return bool(self.cut or self.closed or len(self.files) > FILES)


def of(gate: Gate, *, first: int = 0) -> GateContent:
    body = bytes(gate.subject)
    subject = subjects.read(gate)
    is_plan = "steps" in subject
    action = None if is_plan else subjects.action_of(subject)
    total = len(subject["steps"]) if is_plan else 0
    listed = subjects.planned(subject, first, first + ROWS)
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
        warnings=_warnings(subject, body),
        tree=values.excerpt(subject) if len(body) <= TREE_BYTES else None,
    )


def step_blocks(action: Action) -> tuple[Block, ...]:
    at, before = f"/steps/{action.place}", f"/dry_run/steps/{action.preview_place}"
    listed = (action.source.get("for_each") or {}).get("list")
    params = "Parameters; references are filled in from earlier steps"
    return _filled(
        ("What would change", action.preview.get("changes"), f"{before}/changes"),
        (params, action.source.get("params"), f"{at}/params"),
        ("Items", None if isinstance(listed, str) else listed, f"{at}/for_each/list"),
        ("Parameters of its undo", action.undo_params, f"{at}/undo/params"),
        *_of_fallback(action.fallback, f"{at}/fallback"),
    )


def _of_fallback(fallback: Action | None, at: str) -> tuple[tuple[str, Any, str], ...]:
    if fallback is None:
        return ()
    return (
        ("Parameters of its fallback", fallback.source.get("params"), f"{at}/params"),
        (
            "Parameters of the undo of its fallback",
            fallback.undo_params,
            f"{at}/undo/params",
        ),
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
    if "unreadable" in subject or "form" in subject:
        return ()
    caption, name = "All inputs", "inputs"
    if action is not None and action.is_skill:
        caption, name = "All parameters", "params"
    elif action is not None:
        caption, name = "Full context of the approval", "context"
    undo_params = action.undo_params if action else {}
    return (
        Block(caption, values.excerpt(subject.get(name)), f"/{name}"),
        *_filled(
            ("Item", _shown_item(subject), "/item_value"),
            ("Configuration of the skill", subject.get("config"), "/config"),
            ("Parameters of the undo", undo_params, "/undo/params"),
        ),
    )


def _shown_item(subject: Mapping[str, Any]) -> Any:
    """Return the value of an item; a single value in a list, so that 0 is shown too."""
    value = subject.get("item_value")
    return value if isinstance(value, dict | list) or "item" not in subject else [value]


def _warnings(subject: Mapping[str, Any], body: bytes) -> list[Warned]:
    """Check the whole content, including the collapsed part."""
    if "unreadable" in subject or not values.warnings_in(subject, body):
        return []
    steps = [
        (f"step {step.get('id')}", sentences)
        for step in subject.get("steps", ())
        if (sentences := values.warnings_in(step))
    ]
    if len(steps) > WARNED:
        return [*steps[:WARNED], ("and further steps", ())]
    others = [name for name in subject if name not in {"steps", "plan", "dry_run"}]
    found = ((name, values.warnings_in({name: subject[name]})) for name in others)
    return steps + [(name, sentences) for name, sentences in found if sentences]
