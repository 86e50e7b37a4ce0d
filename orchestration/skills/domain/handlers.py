"""The code behind actions: plain functions registered by name and version."""

import hashlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from orchestration.skills.domain.outcome import CheckHandler, DryRunHandler, Handler


@dataclass(frozen=True)
class Registered:
    """The functions of one handler and the digest of the module they stand in."""

    key: str
    run: Handler
    code_sha256: str
    dry_run: DryRunHandler | None = None
    check: CheckHandler | None = None


_HANDLERS: dict[str, Registered] = {}


def handler(key: str) -> Callable[[Handler], Handler]:
    """Register a function as the handler `skill.action@N`.

    :raises ValueError: when the key is taken
    """

    def register(function: Handler) -> Handler:
        if key in _HANDLERS:
            message = f"handler {key} is registered twice"
            raise ValueError(message)
        source = Path(inspect.getfile(function)).read_bytes()
        _HANDLERS[key] = Registered(
            key=key, run=function, code_sha256=hashlib.sha256(source).hexdigest()
        )
        return function

    return register


def dry_run_of(key: str) -> Callable[[DryRunHandler], DryRunHandler]:
    """Register the dry run of the handler `key`, which must exist already."""

    def register(function: DryRunHandler) -> DryRunHandler:
        _HANDLERS[key] = replace(_HANDLERS[key], dry_run=function)
        return function

    return register


def check_of(key: str) -> Callable[[CheckHandler], CheckHandler]:
    """Register the target check of the handler `key`, which must exist already."""

    def register(function: CheckHandler) -> CheckHandler:
        _HANDLERS[key] = replace(_HANDLERS[key], check=function)
        return function

    return register


def find(key: str) -> Registered | None:
    """The handler of that key, or None when this process does not have it."""
    return _HANDLERS.get(key)


def keys() -> frozenset[str]:
    """Every registered key."""
    return frozenset(_HANDLERS)
