"""Frames between a worker and its runner: four bytes of length, then JSON.

Outcomes are converted by hand and not with pydantic, which would double the start-up
time of the runner.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestration.skills.domain.outcome import (
    CannotTell,
    DidHappen,
    DidNotHappen,
    DryRunResult,
    Failed,
    Outcome,
    ProbeResult,
    Retry,
    Succeeded,
    TargetProblem,
    Unknown,
)

LENGTH = 4
LARGEST_OUTCOME = 4 * 1024 * 1024
LARGEST_FRAME = 256 * 1024 * 1024
CHUNK = 65536
FAILURES: Mapping[str, type[Failed | Retry | Unknown]] = {
    "failed": Failed,
    "retry": Retry,
    "unknown": Unknown,
}
PROBED: Mapping[str, type[DidNotHappen | CannotTell]] = {
    "did_not_happen": DidNotHappen,
    "cannot_tell": CannotTell,
}
_ENCODER = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


class FrameTooLarge(Exception):
    """A frame is longer than allowed: the two sides are out of sync."""


def encode(value: Any) -> bytes:
    """Encode one frame.

    :raises ValueError: for NaN and infinities
    :raises TypeError: for what is not JSON
    """
    body = _ENCODER.encode(value).encode()
    return len(body).to_bytes(LENGTH) + body


def send(fd: int, frame: bytes) -> None:
    """Write the whole frame."""
    view = memoryview(frame)
    while view:
        view = view[os.write(fd, view) :]


def read_now(fd: int) -> bytes | None:
    """Read available bytes; None if there are none yet, `b""` at the end."""
    try:
        return os.read(fd, CHUNK)
    except BlockingIOError:
        return None


class Frames:
    """Collects bytes and returns whole frames."""

    def __init__(self, largest: int = LARGEST_FRAME) -> None:
        self._buffer = bytearray()
        self._largest = largest

    def feed(self, chunk: bytes) -> Any | None:
        """Add bytes; return the next whole frame, or None.

        There is one frame at a time, because each call waits for its answer.

        :raises FrameTooLarge: when the announced length is too large
        """
        self._buffer += chunk
        if len(self._buffer) < LENGTH:
            return None
        size = int.from_bytes(self._buffer[:LENGTH])
        if size > self._largest:
            raise FrameTooLarge
        if len(self._buffer) < LENGTH + size:
            return None
        body = bytes(self._buffer[LENGTH : LENGTH + size])
        del self._buffer[: LENGTH + size]
        return json.loads(body)


def outcome_to_wire(outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, Succeeded):
        files = {
            name: str(path) if isinstance(path, str | Path) else list(map(str, path))
            for name, path in outcome.files.items()
        }
        return {"kind": "succeeded", "output": outcome.output, "files": files}
    kind = next(kind for kind, known in FAILURES.items() if isinstance(outcome, known))
    texts = {"code": str(outcome.code), "message": str(outcome.message)}
    return {"kind": kind, **vars(outcome), **texts}


def outcome_from_wire(value: dict[str, Any]) -> Outcome:
    fields = dict(value)
    kind = fields.pop("kind")
    if kind != "succeeded":
        return FAILURES[kind](**fields)
    files: dict[str, Path | Sequence[Path]] = {
        name: Path(path) if isinstance(path, str) else tuple(map(Path, path))
        for name, path in fields["files"].items()
    }
    return Succeeded(fields["output"], files)


def dry_run_to_wire(dry_run: DryRunResult) -> dict[str, Any]:
    return {**vars(dry_run), "changes": list(dry_run.changes)}


def dry_run_from_wire(value: dict[str, Any]) -> DryRunResult:
    return DryRunResult(**{**value, "changes": tuple(value["changes"])})


def problems_to_wire(problems: Sequence[TargetProblem]) -> list[dict[str, str]]:
    return [vars(item) for item in problems]


def problems_from_wire(value: list[dict[str, str]]) -> tuple[TargetProblem, ...]:
    return tuple(TargetProblem(**item) for item in value)


def probed_to_wire(result: ProbeResult) -> dict[str, Any]:
    """Encode the answer of a probe.

    :raises TypeError: when it is not one
    """
    if isinstance(result, DidHappen):
        output = {"output": dict(result.output)}
        return {"answer": "happened", "evidence": str(result.evidence), **output}
    for answer, known in PROBED.items():
        if isinstance(result, known):
            return {"answer": answer, "evidence": str(result.evidence)}
    message = f"the probe returned {type(result).__name__}"
    raise TypeError(message)


def probed_from_wire(value: dict[str, Any]) -> ProbeResult:
    evidence = str(value["evidence"])
    if value["answer"] == "happened":
        return DidHappen(evidence, value["output"])
    return PROBED[value["answer"]](evidence)
