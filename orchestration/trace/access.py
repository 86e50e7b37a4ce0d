"""Access to the streams of the audit log."""

from execfabric.identity.authority import rights_of
from execfabric.identity.errors import RightMissing
from execfabric.lib.actor import Actor
from execfabric.lib.refusal import Invalid
from execfabric.lib.rights import Right
from orchestration.runs import selectors
from orchestration.trace.selectors import run_of


def require_reader(by: Actor, stream: str = "") -> bool:
    """Check that `by` may read a stream; an empty one means the whole audit log.

    :returns: True if `by` may read the whole log
    :raises RightMissing: if `by` may not read the stream
    """
    if "\0" in stream:
        raise Invalid(f"Cannot open the stream {stream!r}: the name is not valid.")
    if Right.TRACE in rights_of(by):
        return True
    run = run_of(stream)
    if run and selectors.visible_to(by).filter(pk=run).exists():
        return False
    raise RightMissing(
        "You cannot browse the audit log. To see the trace of a run, open the run.",
        right=str(Right.TRACE),
    )
