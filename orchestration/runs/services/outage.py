"""A database that is away for a moment: what has happened must not be lost to that."""

import time
from collections.abc import Callable
from typing import TypeVar

from django.db import InternalError, NotSupportedError, OperationalError, connection

T = TypeVar("T")

TRIES = 60
LONGEST_PAUSE_S = 5.0
PASSING = (OperationalError, InternalError, NotSupportedError)
"""The server is away, takes no writes yet, or has other types than its kept plans."""


def insist(act: Callable[[], T]) -> T:
    """Do something that may be done again until the database has answered it.

    That is about five minutes at most; then its last error goes through.
    """
    for tries in range(TRIES):
        try:
            return act()
        except PASSING:
            connection.close()
            time.sleep(min(0.1 * 2**tries, LONGEST_PAUSE_S))
    return act()
