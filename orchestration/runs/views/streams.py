"""Who may read a run's stream of the record, and its verification on a page."""

from uuid import UUID

from audit.domain.chain import Verified
from audit.errors import StreamUnknown
from execfabric.lib.actor import Actor
from orchestration.runs import selectors
from orchestration.runs.services import verification


def may_read(by: Actor, stream: str) -> bool:
    """Whether a stream is one of a run that `by` may see."""
    kind, _, pk = stream.partition(":")
    try:
        run_id = UUID(pk)
    except ValueError:
        return False
    return kind == "run" and selectors.visible_to(by).filter(pk=run_id).exists()


def verified(stream: str) -> Verified | None:
    """Verify a stream while its page waits; None for a long or empty one."""
    try:
        return verification.verify_now(stream)
    except StreamUnknown:
        return None
