"""The code behind actions: plain functions registered by name and version."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from orchestration.skills.domain import code
from orchestration.skills.domain.outcome import CheckHandler, DryRunHandler, Handler


@dataclass(frozen=True)
class Registered:
    """The functions of one handler and their module."""

    key: str
    run: Handler
    module: str
    dry_run: DryRunHandler | None = None
    check: CheckHandler | None = None

    @property
    def code_digest(self) -> str:
        return code.digest_of(self.module)

    def has_code(self, published: str) -> bool:
        """Return True if its code has the published digest."""
        return code.is_code_of(self.module, published)


_HANDLERS: dict[str, Registered] = {}


def handler(key: str) -> Callable[[Handler], Handler]:
    """Register a function as the handler `skill.action@N`.

    :raises ValueError: when the key is already registered
    """

    def register(function: Handler) -> Handler:
        if key in _HANDLERS:
            message = f"duplicate handler {key!r}"
            raise ValueError(message)
        _HANDLERS[key] = Registered(key=key, run=function, module=function.__module__)
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
    """Return a handler by key; None if it is not registered."""
    return _HANDLERS.get(key)


def keys() -> frozenset[str]:
    """Every registered key."""
    return frozenset(_HANDLERS)
