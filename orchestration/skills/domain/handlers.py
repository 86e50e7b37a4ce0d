"""The code behind actions: plain functions registered by name and version.

A registered function may raise CallFailed, which becomes what it returns.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps

from orchestration.skills.domain import code
from orchestration.skills.domain.outcome import (
    Call,
    CallFailed,
    CannotTell,
    CheckHandler,
    DryRunHandler,
    DryRunResult,
    Handler,
    Outcome,
    ProbeHandler,
    ProbeResult,
    TargetProblem,
    refused,
)


@dataclass
class Registered:
    key: str
    run: Handler
    module: str
    dry_run: DryRunHandler | None = None
    check: Callable[[Call], Sequence[TargetProblem]] | None = None
    probe: ProbeHandler | None = None

    @property
    def code_digest(self) -> str:
        return code.digest_of(self.module)

    def has_code(self, published: str) -> bool:
        return code.is_code_of(self.module, published)


_HANDLERS: dict[str, Registered] = {}


def handler(key: str) -> Callable[[Handler], Handler]:
    """Register a function as the handler `skill.action@N`.

    :raises ValueError: when the key is already registered
    """

    def register(function: Handler) -> Handler:
        @wraps(function)
        def run(call: Call) -> Outcome:
            try:
                return function(call)
            except CallFailed as error:
                return error.outcome

        if key in _HANDLERS:
            message = f"duplicate handler {key!r}"
            raise ValueError(message)
        _HANDLERS[key] = Registered(key=key, run=run, module=function.__module__)
        return run

    return register


def dry_run_of(key: str) -> Callable[[DryRunHandler], DryRunHandler]:
    """Register the dry run of the handler `key`, which must exist already."""

    def register(function: DryRunHandler) -> DryRunHandler:
        @wraps(function)
        def dry_run(call: Call) -> DryRunResult:
            try:
                return function(call)
            except CallFailed as error:
                return DryRunResult.failing(str(error))

        _HANDLERS[key].dry_run = dry_run
        return dry_run

    return register


def check_of(key: str) -> Callable[[CheckHandler], CheckHandler]:
    """Register the target check of the handler `key`, which must exist already."""

    def register(function: CheckHandler) -> CheckHandler:
        @wraps(function)
        def check(call: Call) -> Sequence[TargetProblem]:
            try:
                return function(call) or ()
            except CallFailed as error:
                return [TargetProblem(error.outcome.code, error.outcome.message)]

        _HANDLERS[key].check = check
        return check

    return register


def probe(key: str) -> Callable[[ProbeHandler], ProbeHandler]:
    """Register a function as the probe `skill.action-probe@N`.

    :raises ValueError: when the key is already registered
    """

    def register(function: ProbeHandler) -> ProbeHandler:
        @wraps(function)
        def ask(call: Call) -> ProbeResult:
            try:
                return function(call)
            except CallFailed as error:
                return CannotTell(str(error))

        @handler(key)
        @wraps(function)
        def run(_: Call) -> Outcome:
            message = f"{key} is a probe: it cannot run as an action."
            raise refused("skill.no_handler", message)

        _HANDLERS[key].probe = ask
        return ask

    return register


def find(key: str) -> Registered | None:
    return _HANDLERS.get(key)
