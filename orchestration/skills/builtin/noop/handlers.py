"""A skill that does nothing: for trying out plans, and for measuring the engine."""

from orchestration.skills.domain.handlers import dry_run_of, handler
from orchestration.skills.domain.outcome import Call, DryRun, Outcome, Succeeded

PASS = "noop.pass@1"  # noqa: S105 - a handler's key


@handler(PASS)
def hand_on(call: Call) -> Outcome:
    """Return the given value."""
    return Succeeded(output=dict(call.params))


@dry_run_of(PASS)
def preview(call: Call) -> DryRun:
    """Say that nothing happens."""
    # The digest of the code covers names: a new one would ask for new approvals.
    return DryRun(summary="Does nothing.", output=dict(call.params))
