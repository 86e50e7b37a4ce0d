"""A database that is away for a moment: what has happened must not be lost to that."""

import time
from collections.abc import Callable
from typing import TypeVar

from django.db import (
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    connection,
)

T = TypeVar("T")

TRIES = 60
LONGEST_PAUSE_S = 5.0
PASSING: tuple[type[Exception], ...] = (
    OperationalError,
    InterfaceError,
    InternalError,
    NotSupportedError,
)
"""The server is away, takes no writes yet, or has other types than its kept plans."""


def insist(
    act: Callable[[], T],
    *,
    also: tuple[type[Exception], ...] = (),
    meanwhile: Callable[[], None] = lambda: None,
) -> T:
    """Do something that may be repeated until the database has answered it.

    That is about five minutes at most; then its last error goes through. `also` names
    further errors that pass; `meanwhile` is called between the tries.
    """
    passing = PASSING + also
    for tries in range(TRIES):
        try:
            return act()
        except passing:
            connection.close()
            time.sleep(min(0.1 * 2**tries, LONGEST_PAUSE_S))
            meanwhile()
    return act()
