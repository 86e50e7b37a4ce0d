"""Whose turn it is: one start per data directory, the others wait for its outcome."""

import time
from collections.abc import Callable

from execfabric.local import endpoints, leftovers
from execfabric.local.endpoints import Endpoints
from execfabric.local.errors import AlreadyUp, StartFailed
from execfabric.local.layout import DataDir
from execfabric.local.leftovers import Hold, Stage

LONGEST_WAIT = 900.0
"""Seconds; a first start on a slow machine takes a few minutes."""
POLL = 0.2


def take(
    data: DataDir, say: Callable[[str], None], *, longest: float = LONGEST_WAIT
) -> Hold | Endpoints:
    """The hold on the data directory, or where the installation is already up.

    Whoever is starting or stopping it is waited for.

    :raises StartFailed: when the start that was waited for came to nothing
    """
    until = time.monotonic() + longest
    waited_for: Stage | None = None
    while time.monotonic() < until:
        try:
            hold = Hold(data)
        except AlreadyUp:
            pass
        else:
            if waited_for is Stage.STARTING:
                hold.release()
                message = f"Another start on {data.root} was waited for, and it failed."
                raise StartFailed(f"{message} Its log: {data.log}")
            return hold
        stage = leftovers.stage(data)
        if stage is Stage.UP and (found := endpoints.load(data.root)):
            return found
        if waited_for is None and stage is not None:
            waited_for = stage
            say(f"ExecFabric on {data.root} is {stage}: waiting for it ...")
        time.sleep(POLL)
    message = f"ExecFabric on {data.root} is still {waited_for or 'held'} after"
    raise StartFailed(f"{message} {longest:.0f} s: end it with `make down`.")
