"""Retry while the database is unreachable, so that no known result is lost."""

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
MAX_PAUSE_S = 5.0
TRANSIENT: tuple[type[Exception], ...] = (
    OperationalError,
    InterfaceError,
    InternalError,
    NotSupportedError,
)
"""The server is unreachable or read-only, or its prepared statements are outdated."""


def retry(
    act: Callable[[], T],
    *,
    also: tuple[type[Exception], ...] = (),
    between: Callable[[], None] = lambda: None,
) -> T:
    """Repeat a safe-to-repeat act until the database answers, for about five minutes.

    Then raise its last error. `also` are further transient errors; `between` is called
    between the tries.
    """
    transient = TRANSIENT + also
    for tries in range(TRIES):
        try:
            return act()
        except transient:
            connection.close()
            time.sleep(min(0.1 * 2**tries, MAX_PAUSE_S))
            between()
    return act()
