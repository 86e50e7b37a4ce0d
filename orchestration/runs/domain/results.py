"""The results of an attempt, as plain values."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from execfabric.lib import canonical

ABANDONED = "step.outcome_abandoned"
"""The error of a step that may have had its effect: it is not tried again."""
KEPT = "rollback.kept"
"""The error of an undo that a rollback to a step leaves out: its step stays as it is."""
CHECKING = "step.checking"
"""For the decider, the error of a step while a probe asks if it happened."""


def result_digest(output: Any, files: Any) -> str:
    """Return the digest of a step's output and files, as stored and recorded.

    :raises NotCanonical: when the output has no canonical form or cannot be stored
    """
    canonical.check_numbers(output)
    return canonical.digest_of(
        "execfabric/result/v1", {"output": output, "files": files}
    )


@dataclass(frozen=True)
class Finished:
    """A success, with the output and files for later steps."""

    output: dict[str, Any]
    files: dict[str, Any]
    masked: tuple[str, ...] = ()
    """Names of the files in which secrets were masked."""

    @cached_property
    def digest(self) -> str:
        """Return the digest of output and files.

        :raises NotCanonical: when the output has no canonical form
        """
        return result_digest(self.output, self.files)

    def as_fact(self) -> dict[str, Any]:
        return {"finished": self.digest}


@dataclass(frozen=True)
class Failure:
    """A known failure."""

    code: str
    message: str
    again: bool = False
    """True if another attempt is safe and may succeed."""
    killed: bool = False
    """True if the attempt was stopped because its run is being cancelled."""
    ran: bool | None = True
    """False if the attempt had no effect; None if that is unknown."""

    def as_fact(self) -> dict[str, Any]:
        return {"code": self.code, "message": self.message, "ran": self.ran}


@dataclass(frozen=True)
class Lost:
    """An unknown outcome: the effect may or may not have happened."""

    code: str
    message: str

    def as_fact(self) -> dict[str, Any]:
        return {"code": self.code, "message": self.message, "ran": None}


Result = Finished | Failure | Lost


def recordable(result: Result) -> Result:
    """Return the result, or a failure if it has no canonical form.

    Otherwise an effect that happened could not be recorded at all.
    """
    try:
        result.as_fact()
    except canonical.NotCanonical as error:
        return Failure("skill.output_invalid", error.message)
    return result
