"""Every column that anyone reads as history, changed past all guards, is named.

The cases are generated from the models: a new table or column fails here until it is
covered, or classified as no history with a reason.
"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps
from django.db import connection, transaction
from django.db.models import Field, Model

from approvals import history as approvals
from approvals.domain.policy import Rule
from approvals.domain.seats import Requirement
from approvals.services import policies
from audit.domain.chain import Verified
from audit.history import Table
from audit.models import Event, Stream
from execfabric.identity.errors import RightMissing
from execfabric.identity.models import User
from execfabric.lib import clock
from orchestration.plans import history as plans
from orchestration.runs import history
from orchestration.runs.control import events, stops, uploads
from orchestration.runs.keeper import sweep
from orchestration.runs.models import (
    Artifact,
    ArtifactUse,
    ExecSpec,
    InputFile,
    LogChunk,
    Run,
)
from orchestration.skills import history as skills
from orchestration.trace.services import streams
from orchestration.triggers import history as triggers
from orchestration.triggers.services import deliveries, firing, hooks, schedules
from orchestration.triggers.services.hooks import HookSettings
from orchestration.triggers.services.schedules import ScheduleSettings
from tests.builders import approved, decided, driven, open_gate, plan, step
from tests.integration.test_hooks import signed

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.usefixtures("registry"),
]

ARTIFACTS = (history.ARTIFACT, history.ARTIFACT_VERSION, history.ARTIFACT_SOURCE)
TABLES: tuple[Table, ...] = (
    history.RUN,
    history.STEP,
    history.ATTEMPT,
    history.EVENT,
    history.EVENT_WAIT,
    history.EVENT_MATCH,
    history.STOP,
    *ARTIFACTS,
    plans.PLAN,
    plans.REVISION,
    approvals.GATE,
    approvals.DECISION,
    approvals.POLICY,
    skills.SKILL,
    skills.VERSION,
    triggers.SCHEDULE,
    triggers.FIRING,
    triggers.HOOK,
    triggers.DELIVERY,
)
FOUND_ANYWAY = {
    # Exempt from the comparison of columns, and found by another one.
    ("approvals_gate", "stream"),
    ("runs_run", "gate_id"),
    ("runs_steprun", "run_id"),
    ("runs_steprun", "output"),
    ("runs_steprun", "files"),
}
COVERS = {
    "runs_steprun": ("output or files",),
    "runs_logchunk": ("text",),
    "runs_execspec": ("body", "digest"),
}
"""What is named when any of several columns that share one digest is changed."""
HISTORY: dict[type[Model], dict[str, str]] = {
    Event: {"id": "Has no meaning: the trace is sorted by time, stream and seq."},
    Stream: {},
    **{table.model: dict(table.exempt) for table in TABLES},
    ExecSpec: {},
    LogChunk: {"id": "Has no meaning: chunks are sorted by their offset."},
    Artifact: {"created_at": "Not shown; the event of the step has the time."},
    ArtifactUse: {"id": "Has no meaning: uses are sorted by name."},
    InputFile: {"id": "Has no meaning: a run has one row for each input."},
}
NO_HISTORY = {
    "accounts_user": "Who may do what now; past names are in the events.",
    "accounts_agent": "Who may do what now; past names are in the events.",
    "accounts_token": "Who may do what now.",
    "plans_planuserpermission": "Who may do what now; changes are in the events.",
    "plans_plangrouppermission": "Who may do what now; changes are in the events.",
    "skills_skilluserpermission": "Who may do what now.",
    "skills_skillgrouppermission": "Who may do what now.",
    "accounts_passwordlink": "Who may do what now.",
    "runs_upload": "What a run uses of it is in the inputs of the run.",
    "runs_dryrun": "What approvers saw of it is in the run and in its gate.",
    "runs_sweepfailure": "When the keeper tries a run again; changes nothing of it.",
    "runs_attentionclaim": "Who takes care of what now; the events have the past.",
    "runs_alert": "Messages about what needs a person; the events have that.",
    "runs_outside": "Counts changes of other tables.",
    "runs_concurrencyplace": "Who waits or holds a key now; the events have the past.",
    "runs_verificationjob": "What a check found; verify again to know.",
}
OURS = (
    "accounts",
    "approvals",
    "audit",
    "plans",
    "runs",
    "skills",
    "triggers",
    "verification",
)


def test_every_table_is_history_or_has_a_reason_not_to_be():
    tables = {model._meta.db_table for app in OURS for model in _models(app)}

    assert tables - set(NO_HISTORY) == {model._meta.db_table for model in HISTORY}
    assert all(reason for exempt in HISTORY.values() for reason in exempt.values())


@pytest.fixture
def run(proposer, operator, admin, worker) -> Run:
    """Build a run with a step gate, files, a log, a failed attempt and a policy."""
    for reason in ("First version.", "Second version."):
        draft = Rule(
            name="two-people",
            reason=reason,
            requirements=(Requirement("operator", 1),),
            skill="lab",
            action="risky",
        )
        policies.publish_policy(draft=draft, by=admin.actor(), at=clock.now())
    events.send(
        type="go", key="", payload={"n": 1}, by=operator.actor(), at=clock.now()
    )
    _stopped(operator)
    steps = [
        {"id": "go", "kind": "wait", "event": {"type": "go"}},
        step("risky", "risky", params={"a": 1}),
        step("flaky", "flaky", params={"until": 2}, after="risky", retry=RETRY),
        step("say", "secret", after="flaky"),
        step(
            "note", "write", params={"text": "hello", "of": "$inputs.doc"}, after="say"
        ),
    ]
    file = uploads.store(
        chunks=[b"words"], name="words.txt", by=proposer.actor(), at=clock.now()
    )
    properties = {"doc": {"type": "string", "format": "file"}}
    text = plan(*steps, inputs={"type": "object", "properties": properties})
    made = approved(text, proposer, operator, doc=str(file.pk))
    decided(open_gate(made, "risky"), operator, comment="Seen.")
    made = driven(made, worker)
    sweep.sweep(at=clock.now() + timedelta(hours=1))
    _scheduled(proposer)
    return driven(made, worker)


def _stopped(by: User) -> None:
    """Build a stop that was lifted."""
    who = by.actor()
    row = stops.stop(skill="", reason="Down.", cancel=True, by=who, at=clock.now())
    stops.lift(stop_id=row.pk, reason="Up.", by=who, at=clock.now())


def _scheduled(by: User) -> None:
    """Build a schedule with one firing, and a webhook with one delivery."""
    row = schedules.create(
        slug="lab-plan",
        settings=ScheduleSettings(name="Hourly", cron="0 * * * *"),
        by=by.actor(),
        at=clock.now(),
    )
    named = HookSettings(name="Orders")
    hook, _ = hooks.create(
        slug="lab-plan", settings=named, by=by.actor(), at=clock.now()
    )
    hook, secret = hooks.rotate(hook_id=hook.pk, by=by.actor(), at=clock.now())
    by.groups.clear()
    firing.sweep(row.next_at)
    sent = signed(secret, b"{}")
    with pytest.raises(RightMissing):
        deliveries.deliver(hook_id=hook.pk, headers=sent, body=b"{}", at=clock.now())


RETRY = {"attempts": 3, "backoff": "constant", "initial": "1s"}


def found(stream: str = "") -> list[str]:
    """Return the findings of a verification of one stream or all of them."""
    results = [streams.verify_stream(stream)] if stream else streams.verify_all()
    return [text for result in results for text in _named(result)]


def _named(result: Verified) -> Iterator[str]:
    if result.broken:
        place = f"{result.broken.stream}#{result.broken.seq}"
        yield f"audit: {place}: {result.broken.reason}"
    for item in result.differences:
        yield f"{item.table}.{item.column}: {item}"


def test_an_untouched_record_is_whole(run):
    assert run.state == "succeeded"
    assert found() == []
    result = streams.verify_stream(run.stream)
    assert (result.outputs, result.uncovered, result.unread) == (5, 0, 0)


def test_every_column_that_is_changed_is_named(run):
    take_guards_down()
    missed = []
    for model, column, exempt in _columns():
        table = model._meta.db_table
        if exempt and (table, column.column) not in FOUND_ANYWAY:
            continue
        with transaction.atomic():
            change(model, column)
            names = found(stream_of(table, run))
            transaction.set_rollback(True)
        if not any(_names(text, table, column.column) for text in names):
            missed.append((table, column.column, names))

    assert missed == []


def _names(text: str, table: str, column: str) -> bool:
    """Whether a sentence names the column, its row, or what covers several columns."""
    if table.startswith("audit_"):
        return text.startswith("audit: ")
    return text.startswith(
        tuple(f"{table}.{name}: " for name in (column, "", *COVERS.get(table, ())))
    )


def stream_of(table: str, run: Run) -> str:
    """Return the stream that covers a table; empty where all are verified."""
    if table.startswith(("audit_", "triggers_")):
        return ""
    if table.startswith("skills_"):
        return "registry"
    if table == "runs_stop":
        return "stops"
    if table in {"runs_externalevent", "runs_eventmatch"}:
        return "events"
    if table in {t.name for t in ARTIFACTS}:
        return f"artifacts:{run.revision.plan_id}"
    return "policy" if table == "approvals_policy" else run.stream


def take_guards_down() -> None:
    """Drop every trigger and constraint, as only the owner of the tables could."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(
            "SELECT conrelid::regclass, conname FROM pg_constraint"
            " WHERE connamespace = 'public'::regnamespace AND (contype IN ('c', 'f', 'u')"
            " OR (contype = 'p' AND cardinality(conkey) > 1))"
        )
        for table, name in cursor.fetchall():
            cursor.execute(f'ALTER TABLE {table} DROP CONSTRAINT "{name}"')
        for model in HISTORY:
            table = model._meta.db_table
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
            for field in model._meta.concrete_fields:
                if not field.primary_key:
                    cursor.execute(
                        f'ALTER TABLE {table} ALTER "{field.column}" DROP NOT NULL'
                    )


def change(model: type[Model], field: "Field[Any, Any]") -> None:
    """Change one column of the row that was written last."""
    table, column = model._meta.db_table, f'"{field.column}"'
    kind = (
        field.rel_db_type(connection)
        if field.is_relation
        else field.db_type(connection)
    )
    other = {
        "smallint": f"coalesce({column}, 0) + 1",
        "integer": f"coalesce({column}, 0) + 1",
        "bigint": f"coalesce({column}, 0) + 1",
        "boolean": f"NOT {column}",
        "jsonb": "'{\"changed\": true}'::jsonb",
        "bytea": "'\\xc0ffee'::bytea",
        "uuid": "gen_random_uuid()",
        "timestamp with time zone": f"coalesce({column}, now()) + interval '1 s'",
    }
    length = (
        getattr(field.target_field, "max_length", None)
        if field.is_relation
        else field.max_length
    )
    text = f"left(md5(coalesce({column}, '')), {length or 32})"
    value = other.get(str(kind).removesuffix(" GENERATED BY DEFAULT AS IDENTITY"), text)
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE {table} SET {column} = {value}"
            f" WHERE ctid = (SELECT max(ctid) FROM {table})"
        )
        assert cursor.rowcount == 1


def _models(app: str) -> list[type[Model]]:
    return list(apps.get_app_config(app).get_models(include_auto_created=False))


def _columns() -> "Iterator[tuple[type[Model], Field[Any, Any], bool]]":
    for model, exempt in HISTORY.items():
        for field in model._meta.concrete_fields:
            yield model, field, field.attname in exempt
