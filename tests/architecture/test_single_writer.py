"""Runs, step runs and attempts are written in one place: nothing moves without an event."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUNS = "orchestration/runs"
WRITERS = {f"{RUNS}/engine/{name}.py" for name in ("transitions", "rows", "store")}
"""Write the rows, in the statement that appends their events."""
BIRTH = f"{RUNS}/control/proposals.py"
"""Adds the rows of a new run, in their first states."""
OWN_TABLES = {
    f"{RUNS}/engine/artifacts.py",
    f"{RUNS}/control/dry_runs.py",
    f"{RUNS}/control/stops.py",
    f"{RUNS}/engine/quarantine.py",
    f"{RUNS}/engine/versions.py",
    f"{RUNS}/worker/step_log.py",
    "orchestration/trace/services/jobs.py",
}
"""Write tables of their own, some of which have a state too."""
STRICT = ("orchestration/runs/", "orchestration/trace/")
"""Packages that handle runs, where a change of a state is taken for one of a run's."""

CREATES = {"create", "acreate", "bulk_create", "get_or_create", "update_or_create"}
CHANGES = {"update", "aupdate", "bulk_update", "save", "asave", "delete", "adelete"}
FIELDS = {"state", "phase", "lease_until", "hinted_at"}
ROWS = re.compile(
    r"\b(?:Run|StepRun|Attempt)\b|\.(?:runs|steps|attempts|step_run|run)\b"
)
SQL = re.compile(
    r"\b(?:update|insert\s+into|delete\s+from|merge\s+into|truncate(?:\s+table)?)"
    r"\s+(?:only\s+)?(?:[\w\"]+\.)?\"?(?P<table>runs_(?:run|steprun|attempt)\b|\{)",
    re.IGNORECASE,
)


def writes(tree: ast.AST, *, own_table: bool = False) -> Iterator[int]:
    """Lines that write a run, a step run or an attempt.

    With `own_table` only those that name one of the three: the module writes other rows.
    """
    for node in ast.walk(tree):
        if _names_a_table(node) or (not own_table and _sets_a_field(node)):
            yield node.lineno


def _names_a_table(node: ast.AST) -> bool:
    if (statement := SQL.search(_text(node))) is not None:
        return statement["table"] != "{"
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        receiver = ast.unparse(node.func.value)
        is_write = node.func.attr in CREATES | CHANGES
        return is_write and ROWS.search(receiver) is not None
    return False


def _text(node: ast.AST) -> str:
    """Return the text of a string; placeholders of a format string become a brace."""
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or "{" for part in node.values)
    is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
    return node.value if is_text else ""


def _sets_a_field(node: ast.AST) -> bool:
    if isinstance(node, ast.JoinedStr):
        return SQL.search(_text(node)) is not None
    if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
        return node.attr in FIELDS
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id == "setattr" and _may_name_a_field(node.args[1])
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
        keywords = {keyword.arg for keyword in node.keywords}
        return {
            "save": "storage" not in ast.unparse(node.func.value),
            "bulk_update": True,
        }.get(
            node.func.attr,
            node.func.attr in CREATES | CHANGES and bool(keywords & {*FIELDS, None}),
        )
    return False


def _may_name_a_field(name: ast.expr) -> bool:
    return not isinstance(name, ast.Constant) or name.value in FIELDS


def modules() -> Iterator[tuple[str, ast.AST]]:
    for package in ("execfabric", "orchestration", "approvals", "audit"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            if "migrations" not in path.parts and name not in WRITERS | {BIRTH}:
                yield name, ast.parse(path.read_text())


def test_only_one_place_writes_runs_steps_and_attempts():
    found = [
        f"{name}:{line}"
        for name, tree in modules()
        for line in writes(
            tree,
            own_table=name in OWN_TABLES or not name.startswith(STRICT),
        )
    ]

    assert found == []


@pytest.mark.parametrize(
    "planted",
    [
        "StepRun.objects.filter(pk=1).update(output={})",
        "Run.objects.create(inputs={})",
        "Attempt.objects.bulk_create(rows)",
        "run.steps.all().delete()",
        "step.attempts.update(result=None)",
        "found.update(state='succeeded')",
        "found.update(**fields)",
        "rows.bulk_update(steps, ['state'])",
        "attempt.save()",
        "step.save(update_fields=['state'])",
        "step.state = 'succeeded'",
        "step.state, attempt.phase = 'succeeded', 'done'",
        "step.lease_until += minute",
        "for step.hinted_at in times: pass",
        "setattr(step, 'state', 'succeeded')",
        "setattr(step, name, value)",
        "cursor.execute('UPDATE runs_steprun SET tries = 0')",
        "cursor.execute('update only public.\"runs_run\" set reason = 1')",
        "cursor.execute(f'DELETE FROM runs_attempt WHERE id = {one}')",
        "cursor.execute(f'UPDATE {table} SET tries = 0')",
        "LOCK = '\\nUPDATE runs_steprun AS step SET tries = 0'",
        "cursor.execute('INSERT  INTO runs_attempt VALUES (1)')",
    ],
)
def test_each_way_to_write_a_row_is_seen(planted):
    assert list(writes(ast.parse(planted)))


@pytest.mark.parametrize(
    "harmless",
    [
        "LogChunk.objects.bulk_create(rows)",
        "totals.update(found)",
        "DryRun.objects.filter(pk=1).update(steps_done=1)",
        "default_storage.save(name, data)",
        "cursor.execute('UPDATE runs_steprunner SET x = 1')",
        "cursor.execute('SELECT state FROM runs_steprun FOR UPDATE')",
        "state = step.state",
    ],
)
def test_nothing_else_is_taken_for_a_write(harmless):
    assert list(writes(ast.parse(harmless))) == []
