"""Who may read a run's stream of the record: whoever may see the run."""

from uuid import UUID

from execfabric.lib.actor import Actor
from orchestration.runs import selectors


def may_read(by: Actor, stream: str) -> bool:
    """Whether a stream is one of a run that `by` may see."""
    kind, _, pk = stream.partition(":")
    try:
        run_id = UUID(pk)
    except ValueError:
        return False
    return kind == "run" and selectors.visible_to(by).filter(pk=run_id).exists()
