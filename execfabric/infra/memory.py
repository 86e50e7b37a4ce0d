"""How often a process looks for garbage."""

import gc

EVERY = 20_000
"""New objects after which the youngest ones are searched for garbage, by default 700.

A large plan has hundreds of thousands of objects, none of which is garbage.
"""


def settle() -> None:
    """Search for garbage less often, and never in what is loaded now.

    For a server that has loaded everything. Otherwise each full search would go through
    all its modules.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(EVERY)
