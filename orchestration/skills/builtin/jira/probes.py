"""Find out if a step has moved an issue: a property that is set with it names the step."""

from orchestration.skills.builtin.common import digest_of_key

# Private there: with another name, the code of runs that are approved would have changed.
from orchestration.skills.builtin.jira.handlers import _state as state_of
from orchestration.skills.domain.handlers import probe
from orchestration.skills.domain.outcome import (
    Call,
    CannotTell,
    DidHappen,
    DidNotHappen,
    ProbeResult,
)


@probe("jira-write.transition-probe@1")
def moved(call: Call) -> ProbeResult:
    """Read the status of the issue, and the property of its last transition by a plan."""
    issue, wanted = call.params["issue"], call.params["status"]
    current, note = state_of(call.config, issue)
    if not note and current.lower() == wanted.lower():
        return CannotTell(f"{issue} has the status {current}, but no mark of a plan.")
    if not note:
        return DidNotHappen(f"{issue} has the status {current}, and no mark of a plan.")
    if note.get("key") != digest_of_key(call)[:32]:
        return CannotTell(f"{issue} has the mark of another step, which may be newer.")
    if current.lower() != wanted.lower():
        return CannotTell(f"{issue} has the mark of this step, but is in {current}.")
    output = {"issue": issue, "previous_status": note["previous"], "status": current}
    evidence = f"{issue} has the status {current} and the mark of this step."
    return DidHappen(evidence, {**output, "changed": True})
