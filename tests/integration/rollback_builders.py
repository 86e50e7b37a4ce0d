"""Build plans with undos, roll their runs back, and read what was undone."""

from typing import Any

from execfabric.lib import clock
from orchestration.runs.control import rollback
from orchestration.runs.models import Run
from tests.builders import plan, step

UNDO = {"action": "witness", "params": {"mark": "undo-$self.output.mark"}}
FAILS = {"action": "once", "params": {"how": "fail"}}


def done(key: str, action: str = "witness", **fields: Any) -> dict[str, Any]:
    """Build a step that writes a line, and whose undo writes another."""
    made = {"params": {"mark": key}, "rollback": UNDO} | fields
    return step(key, action, **made)


def failing(key: str, **fields: Any) -> dict[str, Any]:
    return step(key, "once", params={"how": "fail"}, **fields)


def undoable(length: int = 3, *others: dict[str, Any], **fields: Any) -> str:
    """Build a chain of steps with undos, and the steps after it."""
    keys = [f"s{number}" for number in range(length)]
    steps = [
        done(key, after=keys[at - 1] if at else None) for at, key in enumerate(keys)
    ]
    return plan(*steps, *others, **fields)


def rolled_back(run: Run, by: Any, *, to: str = "", reason: str = "Not wanted.") -> Run:
    """Preview and confirm the rollback of a run."""
    shown = rollback.preview(run_id=run.id, by=by.actor(), at=clock.now(), to=to)
    return rollback.roll_back(
        run_id=run.id,
        by=by.actor(),
        at=clock.now(),
        reason=reason,
        digest=shown.digest,
        to=to,
    )


def marks(witness: Any) -> list[str]:
    """Return what steps and undos have written, in order."""
    return [line.split()[0] for line in witness.read()]
