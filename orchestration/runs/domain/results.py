"""How an attempt ended, as plain values."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from execfabric.lib import canonical


def result_digest(output: Any, files: Any) -> str:
    """Return the digest of what a step returned; stored with it and in its event."""
    return canonical.digest_of(
        "execfabric/result/v1", {"output": output, "files": files}
    )


@dataclass(frozen=True)
class Finished:
    """The effect happened; output and files are what the next steps get."""

    output: dict[str, Any]
    files: dict[str, Any]
    masked: tuple[str, ...] = ()
    """Names of the files in which secrets were masked before they were stored."""

    @cached_property
    def digest(self) -> str:
        """The digest of output and files.

        :raises NotCanonical: when the output has no canonical form
        """
        return result_digest(self.output, self.files)

    def as_fact(self) -> dict[str, Any]:
        return {"finished": self.digest}


@dataclass(frozen=True)
class Failure:
    """It did not work, and that is known."""

    code: str
    message: str
    again: bool = False
    """Whether another attempt is allowed and may help."""
    killed: bool = False
    """Whether it was stopped because its run is being cancelled."""
    ran: bool | None = True
    """False if it certainly failed before any effect; None if no one can know."""

    def as_fact(self) -> dict[str, Any]:
        return {"code": self.code, "message": self.message, "ran": self.ran}


@dataclass(frozen=True)
class Lost:
    """Nobody can know whether the effect happened."""

    code: str
    message: str

    def as_fact(self) -> dict[str, Any]:
        return {"code": self.code, "message": self.message, "ran": None}


Result = Finished | Failure | Lost


def recordable(result: Result) -> Result:
    """Return the result, or a failure in place of one without canonical form.

    Otherwise an effect that has happened could not be recorded at all.
    """
    try:
        result.as_fact()
    except canonical.NotCanonical as error:
        return Failure("skill.output_invalid", error.message)
    return result
