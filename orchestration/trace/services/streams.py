"""Verify the events of streams, and the stored rows that they record.

The list of expected streams comes from the tables that need them, not from the audit
log itself.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q, QuerySet

from approvals import history as approvals
from approvals.models import Decision, Gate
from approvals.services.policies import STREAM as POLICIES
from audit import selectors as audit
from audit.domain.chain import Verified
from audit.domain.rows import Replay, RowDifference
from audit.history import Table
from execfabric.infra import database
from orchestration.plans import history as plans
from orchestration.plans.models import Plan, PlanRevision
from orchestration.plans.services.saving import STREAM as PLANS
from orchestration.runs import history
from orchestration.runs.engine.events import STREAM as EVENTS
from orchestration.runs.engine.versions import plan_of
from orchestration.runs.models import (
    ArtifactSource,
    ArtifactVersion,
    Attempt,
    EventWait,
    NamedArtifact,
    Run,
    StepRun,
)
from orchestration.runs.models.stops import STREAM as STOPS
from orchestration.skills import history as skills
from orchestration.skills.services.versions import STREAM as REGISTRY
from orchestration.trace.selectors import run_of
from orchestration.trace.services import evidence
from orchestration.triggers import history as triggers

WHOLE_TABLES: dict[str, tuple[Table, ...]] = {
    REGISTRY: (skills.SKILL, skills.VERSION),
    EVENTS: (history.EVENT, history.EVENT_MATCH),
    STOPS: (history.STOP,),
    POLICIES: (approvals.POLICY,),
}
"""The tables of which one stream records every row."""
ALL = 2**31 - 1
MOST_DIFFERENCES = 100
"""Maximum differences that are listed per stream."""
PAGE_EVENTS = 5000
"""Maximum events of a stream that is verified while a page waits."""
PAGE_BYTES = 16 << 20
"""Maximum bytes of files that are read while a page waits."""

# Before accounts had their own stream, tokens were recorded in that of sign-ins.
_REGISTER = """
SELECT key, bool_or(needed) FROM (
  SELECT key, false AS needed FROM audit_stream
  UNION ALL SELECT DISTINCT stream, false FROM audit_event
  UNION ALL SELECT 'run:' || id, true FROM runs_run
  UNION ALL SELECT DISTINCT stream, true FROM approvals_gate
  UNION ALL (SELECT 'registry', true FROM skills_skill LIMIT 1)
  UNION ALL (
    SELECT 'plans', true FROM plans_planrevision AS revision WHERE NOT EXISTS
    (SELECT FROM runs_run WHERE runs_run.revision_id = revision.id)
    AND revision.edited_in IS NULL AND NOT EXISTS
    (SELECT FROM plans_planrevision AS edit WHERE edit.parent_id = revision.id) LIMIT 1
  )
  UNION ALL (SELECT 'events', true FROM runs_externalevent LIMIT 1)
  UNION ALL (SELECT 'stops', true FROM runs_stop LIMIT 1)
  UNION ALL SELECT DISTINCT 'artifacts:' || plan_id, true FROM runs_namedartifact
  UNION ALL SELECT 'schedule:' || id, true FROM triggers_schedule
  UNION ALL SELECT 'hook:' || id, true FROM triggers_hook
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
    rows = database.rows(_REGISTER, [after, limit])
    return [(str(key), bool(needed)) for key, needed in rows]


def count() -> int:
    return len(register(limit=ALL))


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
    replay, run = Replay(key), run_of(key)
    with _one_snapshot():
        is_needed = (
            expected
            or Gate.objects.filter(stream=key).exists()
            or (run is not None and Run.objects.filter(pk=run).exists())
        )
        result = audit.verify_chain(key, expected=is_needed, visit=replay.add)
        if result.broken is not None:
            return result
        for item in _compared(replay):
            if item is None:
                result.uncovered += 1
            else:
                result.differences.append(item)
        files = evidence.check(replay, run, result) if run else {}
    evidence.read_files(replay, files, result, most_bytes=most_bytes)
    del result.differences[MOST_DIFFERENCES:]
    return result


def needs(key: str) -> bool:
    """Return True if a stream exists, or a row elsewhere needs it."""
    return audit.head(key) > 0 or key in dict(register(limit=ALL))


def verify_now(key: str) -> Verified | None:
    """Verify a stream while a page waits; return None if it is too long."""
    if audit.head(key) > PAGE_EVENTS:
        return None
    return verify_stream(key, most_bytes=PAGE_BYTES)


def _compared(replay: Replay) -> Iterator[RowDifference | None]:
    for table, rows in _stored(replay):
        yield from replay.differences(
            table.name, table.stored(rows), defaults=table.defaults
        )


def _stored(replay: Replay) -> Iterator[tuple[Table, "QuerySet[Any]"]]:
    """Yield the rows that the events of a stream must record."""
    key = replay.stream
    run = run_of(key)
    if run is not None:
        yield history.RUN, Run.objects.filter(pk=run)
        yield plans.PLAN, Plan.objects.filter(revisions__runs=run)
        own = Q(runs=run) | Q(edited_in=run) | Q(edits__edited_in=run)
        yield plans.REVISION, PlanRevision.objects.filter(own).distinct()
        yield history.STEP, StepRun.objects.filter(run=run)
        yield history.ATTEMPT, Attempt.objects.filter(step_run__run=run)
        yield history.EVENT_WAIT, EventWait.objects.filter(step_run__run=run)
    elif row := triggers.row_of(key):
        yield from triggers.stored(*row)
    elif plan := plan_of(key):
        yield from _artifacts(plan)
    elif key == PLANS:
        yield from _saved(replay)
    for table in WHOLE_TABLES.get(key, ()):
        yield table, table.model._default_manager.all()  # noqa: SLF001
    yield approvals.GATE, Gate.objects.filter(stream=key)
    yield approvals.DECISION, Decision.objects.filter(gate__stream=key)


def _artifacts(plan: UUID) -> Iterator[tuple[Table, "QuerySet[Any]"]]:
    yield history.ARTIFACT, NamedArtifact.objects.filter(plan=plan)
    versions = ArtifactVersion.objects.filter(artifact__plan=plan)
    yield history.ARTIFACT_VERSION, versions
    sources = ArtifactSource.objects.filter(step_run__run__revision__plan=plan)
    yield history.ARTIFACT_SOURCE, sources


def _saved(replay: Replay) -> Iterator[tuple[Table, "QuerySet[Any]"]]:
    """Yield the saved plans and revisions; those of a proposal are in its run."""
    recorded = Q(pk__in=list(replay.rows[plans.REVISION.name]))
    unused = Q(runs=None, edited_in=None, edits=None)
    revisions = PlanRevision.objects.filter(recorded | unused)
    yield plans.REVISION, revisions.distinct()
    recorded = Q(pk__in=list(replay.rows[plans.PLAN.name]))
    with_saved = Q(revisions__in=PlanRevision.objects.filter(unused))
    yield plans.PLAN, Plan.objects.filter(recorded | with_saved).distinct()


@contextmanager
def _one_snapshot() -> Iterator[None]:
    """Read in one snapshot, so that a change meanwhile is not a difference."""
    nested = connection.in_atomic_block
    with transaction.atomic():
        if not nested:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield
