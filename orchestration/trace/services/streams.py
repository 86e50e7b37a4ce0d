"""Verify the events of streams, and the stored rows that they record.

The list of expected streams comes from the tables that need them, not from the audit
log itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import QuerySet

from approvals import history as approvals
from approvals.models import Decision, Gate, Policy
from approvals.services.policies import STREAM as POLICIES
from audit import selectors as audit
from audit.domain.chain import Verified
from audit.domain.rows import Replay, RowDifference
from audit.history import Table
from orchestration.plans import history as plans
from orchestration.plans.models import Plan, PlanRevision
from orchestration.runs import history
from orchestration.runs.models import Attempt, Run, StepRun
from orchestration.skills import history as skills
from orchestration.skills.models import Skill, SkillVersion
from orchestration.skills.services.versions import STREAM as REGISTRY
from orchestration.trace.services import evidence

MOST_DIFFERENCES = 100
"""Differences that are listed per stream."""
PAGE_EVENTS = 5000
"""The longest stream that is verified while a page waits."""
PAGE_BYTES = 16 << 20
"""Bytes of files that are read while a page waits."""

Stored = tuple[Table, "QuerySet[Any]"]

# Before accounts had their own stream, tokens were recorded in that of sign-ins.
_REGISTER = """
SELECT key, bool_or(needed) FROM (
  SELECT key, false AS needed FROM audit_stream
  UNION ALL SELECT DISTINCT stream, false FROM audit_event
  UNION ALL SELECT 'run:' || id, true FROM runs_run
  UNION ALL SELECT DISTINCT stream, true FROM approvals_gate
  UNION ALL (SELECT 'registry', true FROM skills_skill LIMIT 1)
  UNION ALL (SELECT 'policy', true FROM approvals_policy LIMIT 1)
  UNION ALL SELECT DISTINCT CASE WHEN created_at > (
    SELECT applied FROM django_migrations
    WHERE app = 'accounts' AND name = '0002_password_links'
  ) THEN 'accounts' ELSE 'sign-in' END, true FROM accounts_token
) AS streams
WHERE key COLLATE "C" > %s GROUP BY key ORDER BY key COLLATE "C" LIMIT %s
"""


def register(after: str = "", *, limit: int = 500) -> list[tuple[str, bool]]:
    """Return the next streams in order; True for each that other rows need."""
    with connection.cursor() as cursor:
        cursor.execute(_REGISTER, [after, limit])
        return [(str(key), bool(needed)) for key, needed in cursor.fetchall()]


def count() -> int:
    return len(register(limit=2**31 - 1))


def verify_all() -> Iterator[Verified]:
    last = ""
    while page := register(last):
        for last, needed in page:
            yield verify_stream(last, expected=needed)


def verify_stream(
    key: str, *, expected: bool = False, most_bytes: int | None = None
) -> Verified:
    """Verify one stream and the rows it records, in one snapshot.

    `most_bytes` limits the bytes of files that are read.

    :raises StreamUnknown: if the stream does not exist and no row needs it
    """
    replay, run = Replay(key), _run_id(key)
    with _one_snapshot():
        is_needed = (
            expected
            or Gate.objects.filter(stream=key).exists()
            or (run is not None and Run.objects.filter(pk=run).exists())
        )
        result = audit.verify_chain(key, expected=is_needed, visit=replay.add)
        if result.broken is not None:
            return result
        compared = list(_compared(replay))
        results = evidence.check(replay, run)
    evidence.read_files(replay, results, most_bytes=most_bytes)
    differences = [item for item in compared if item is not None]
    differences += results.differences
    return replace(
        result,
        differences=tuple(differences[:MOST_DIFFERENCES]),
        outputs=results.outputs,
        uncovered=compared.count(None) + results.uncovered,
        unread=results.unread,
    )


def needs(key: str) -> bool:
    """Return True if a stream exists, or a row elsewhere needs it."""
    return audit.head(key) > 0 or any(key == known for known, _ in register())


def verify_now(key: str) -> Verified | None:
    """Verify a stream while a page waits; return None if it is too long."""
    if audit.head(key) > PAGE_EVENTS:
        return None
    return verify_stream(key, most_bytes=PAGE_BYTES)


def _compared(replay: Replay) -> Iterator[RowDifference | None]:
    for table, rows in _stored(replay.stream):
        yield from replay.differences(
            table.name, table.stored(rows), defaults=table.defaults
        )


def _stored(key: str) -> Iterator[Stored]:
    """Yield the rows that the events of a stream must record."""
    run = _run_id(key)
    if run is not None:
        yield history.RUN, Run.objects.filter(pk=run)
        yield plans.PLAN, Plan.objects.filter(revisions__runs=run)
        yield plans.REVISION, PlanRevision.objects.filter(runs=run)
        yield history.STEP, StepRun.objects.filter(run=run)
        yield history.ATTEMPT, Attempt.objects.filter(step_run__run=run)
    elif key == REGISTRY:
        yield skills.SKILL, Skill.objects.all()
        yield skills.VERSION, SkillVersion.objects.all()
    elif key == POLICIES:
        yield approvals.POLICY, Policy.objects.all()
    yield approvals.GATE, Gate.objects.filter(stream=key)
    yield approvals.DECISION, Decision.objects.filter(gate__stream=key)


def _run_id(key: str) -> UUID | None:
    kind, _, pk = key.partition(":")
    try:
        return UUID(pk) if kind == "run" else None
    except ValueError:
        return None


@contextmanager
def _one_snapshot() -> Iterator[None]:
    """Read in one snapshot, so that a running run does not differ."""
    nested = connection.in_atomic_block
    with transaction.atomic():
        if not nested:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield
