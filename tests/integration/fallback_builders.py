"""Build plans with fallbacks, and follow their runs."""

from orchestration.runs.domain.results import Failure
from tests.builders import (
    step,
)

BAD = Failure("lab.failed", "The target said no.")


def echo(**params):
    return {"skill": "lab", "action": "echo", "params": params}


def with_fallback(key="q", action="misbehave", fallback=None, **fields):
    params = {"how": "fail"} if action == "misbehave" else {}
    return step(
        key,
        action,
        fallback=fallback or echo(by="fallback"),
        **{"params": params, **fields},
    )


def ended(run):
    run.refresh_from_db()
    return run
