"""Search the audit log, by skill and decision too."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any, Literal
from uuid import UUID

from django.db.models import QuerySet

from approvals.models import Decision
from audit import selectors as audit
from audit.selectors import Event
from orchestration.runs.domain.failure_names import RULES, FailureName
from orchestration.skills.services.versions import STREAM as REGISTRY

DECISIONS = {"approved": "Approved", "rejected": "Rejected"}


class LogFilter(audit.Filter, frozen=True):
    """The filters of the audit log; an empty one does not restrict."""

    skill: str = ""
    """The slug of a skill: events of its versions, and of steps that use it."""
    decision: Literal["", "approved", "rejected"] = ""
    """Events in which someone decided so."""
    failure: FailureName | Literal[""] = ""
    """Events that are a failure with this name, such as `TimedOut`."""

    @property
    def count(self) -> int:
        return len(self.model_dump(exclude_defaults=True))


def run_of(stream: str) -> UUID | None:
    """Return the id of the run that a stream belongs to."""
    kind, _, pk = stream.partition(":")
    try:
        return UUID(pk) if kind == "run" else None
    except ValueError:
        return None


def search(query: LogFilter, *, before: Event | None = None) -> QuerySet[Event]:
    events = audit.search(query, before=before)
    if query.skill:
        # The body is canonical JSON, so a key and its value have one spelling.
        component = f'"componentTag":"skill:{query.skill}"'
        events = events.extra(
            where=[
                """
                (stream, step) IN (
                  SELECT 'run:' || run.id, pin.key
                  FROM runs_run AS run, jsonb_each(run.pins) AS pin
                  WHERE pin.value ->> 'skill' = %s
                )
                OR stream = %s AND position(convert_to(%s, 'UTF8') IN body) > 0
                """
            ],
            params=[query.skill, REGISTRY, component],
        )
    if query.decision:
        decisions = Decision.objects.filter(approve=query.decision == "approved")
        # Few streams have a rejection, and the primary key begins with the stream.
        events = events.filter(
            kind="gate.decided", stream__in=decisions.values("gate__stream")
        )
        events = audit.with_text(events, f'"verdict":"{query.decision}"')
    if query.failure:
        events = _named(events, FailureName(query.failure))
    return events


def _named(events: QuerySet[Event], name: FailureName) -> QuerySet[Event]:
    """Return the events that `failure_names.name_of` gives this name."""
    fits: list[str] = []
    values: list[Any] = []
    earlier: dict[str, list[str]] = defaultdict(list)
    for rule in RULES:
        if rule.name is name:
            others = [code for kind in rule.kinds for code in earlier[kind]]
            fits.append(_FITS)
            values += [[*rule.kinds], _codes(rule.codes), not rule.codes]
            values.append(_codes(others))
        for kind in rule.kinds:
            earlier[kind] += rule.codes
    where = [" OR ".join(fits)]
    return events.extra(where=where, params=values)  # noqa: S610  constants


_FITS = """
(kind = ANY (%s)
 AND (EXISTS (SELECT FROM unnest(%s::text[]) AS code
              WHERE position(convert_to(code, 'UTF8') IN body) > 0) OR %s)
 AND NOT EXISTS (SELECT FROM unnest(%s::text[]) AS code
                 WHERE position(convert_to(code, 'UTF8') IN body) > 0))
"""
"""A rule: its kinds, its codes or none, and not the codes of the rules before it."""


def _codes(codes: Iterable[str]) -> list[str]:
    """Return how canonical JSON spells the code of an error."""
    return [f'"code":"{code}"' for code in codes]
