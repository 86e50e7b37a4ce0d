"""The shape of what a probe found out."""

from ninja import Schema

from orchestration.runs.models import StepRun


class ProbeOut(Schema):
    """What a probe found out about a step whose outcome is or was unknown."""

    is_checking: bool
    """True until it has an answer, or a person has decided."""
    tries: int
    answer: str | None
    """`happened`, `did_not_happen` or `cannot_tell`."""
    evidence: str
    log: str
    """The end of its log."""


def probe_of(step: StepRun) -> ProbeOut | None:
    """Return what a probe found out about a step; None without one."""
    if step.probe_at is None and step.probe_record is None:
        return None
    stored = step.probe_record or {}
    return ProbeOut(
        is_checking=step.probe_at is not None,
        tries=stored.get("tries", 0),
        answer=stored.get("answer"),
        evidence=stored.get("evidence", ""),
        log=stored.get("log", ""),
    )
