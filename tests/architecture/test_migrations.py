"""Migrations are frozen, and a migrated database has what the models declare."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.apps import apps
from django.db import connection, migrations, models
from django.db.migrations.loader import MigrationLoader

from tests.architecture.test_rules import PACKAGES, ROOT

DECLARED = "declared"
"""The schema in which the tests create the tables straight from the models."""
TABLES_OF = """
SELECT relname FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace
WHERE nspname = %s AND relkind = 'r'
"""
CONSTRAINTS = """
SELECT relname, conname, pg_get_constraintdef(pg_constraint.oid) FROM pg_constraint
JOIN pg_class ON pg_class.oid = conrelid
JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE nspname = %s
"""
INDEXES = "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = %s"
UNUSED = "_pattern_ops"
"""Django indexes unique texts for LIKE too; migrations drop these where rows are hot."""
COLUMNS = """
SELECT table_name, column_name,
    concat_ws(' ', udt_name, character_maximum_length, 'null: ' || is_nullable)
FROM information_schema.columns WHERE table_schema = %s
"""


def migration_files() -> list[Path]:
    return [
        path
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("migrations/*.py"))
    ]


def live_imports(source: str) -> Iterator[str]:
    """Modules of this project that a source imports."""
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "."]
        yield from (name for name in names if name.split(".")[0] in (*PACKAGES, ""))


def test_no_migration_imports_live_code():
    found = {
        str(path.relative_to(ROOT)): names
        for path in migration_files()
        if (names := list(live_imports(path.read_text())))
    }

    assert len(migration_files()) > 20
    assert found == {}


def test_the_check_of_imports_can_fail():
    source = (
        "import django\nfrom . import x\nimport audit.models\nfrom execfabric import y"
    )

    assert list(live_imports(source)) == [".", "audit.models", "execfabric"]


def our_models() -> list[type[models.Model]]:
    """Every model of ours with a table, those of many-to-many relations too."""
    return [
        model
        for config in apps.get_app_configs()
        if config.name.split(".")[0] in PACKAGES
        for model in config.get_models(include_auto_created=False)
        if model._meta.managed
    ]


@pytest.fixture
def declared(db: None) -> set[str]:
    """Create every table from the models, in a schema of its own; return their names."""
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA {DECLARED}")
        cursor.execute(f"SET LOCAL search_path TO {DECLARED}, public")
    with connection.schema_editor(atomic=False) as editor:
        for model in our_models():
            editor.create_model(model)
    with connection.cursor() as cursor:
        cursor.execute(TABLES_OF, [DECLARED])
        return {table for (table,) in cursor.fetchall()}


def definitions(
    query: str, schema: str, tables: set[str]
) -> dict[tuple[str, str], set[str]]:
    """Per table and definition the names of what has it, without the schema."""
    found: dict[tuple[str, str], set[str]] = {}
    with connection.cursor() as cursor:
        cursor.execute(query, [schema])
        for table, name, text in cursor.fetchall():
            if table in tables and not re.search(UNUSED, text):
                plain = re.sub(rf"\b(public|{DECLARED})\.", "", text)
                plain = re.sub(r"INDEX \S+ ON", "INDEX ON", plain)
                found.setdefault((table, plain), set()).add(name)
    return found


@pytest.mark.parametrize("query", [CONSTRAINTS, INDEXES, COLUMNS])
def test_a_migrated_database_has_everything_that_the_models_declare(
    query: str, declared: set[str]
):
    wanted = definitions(query, DECLARED, declared)
    existing = definitions(query, "public", declared)

    assert len(wanted) > 40
    assert set(wanted) - set(existing) == set()


def test_constraints_and_indexes_have_the_names_that_the_models_give_them(db: None):
    named = {
        (model._meta.db_table, one.name)
        for model in our_models()
        for one in (*model._meta.constraints, *model._meta.indexes)
    }
    with connection.cursor() as cursor:
        existing = {
            (model._meta.db_table, name)
            for model in our_models()
            for name in connection.introspection.get_constraints(
                cursor, model._meta.db_table
            )
        }

    assert len(named) > 40
    assert named - existing == set()


MADE = re.compile(
    r"\b(?P<verb>CREATE|DROP|ADD)\s+(?:OR\s+REPLACE\s+)?(?:UNIQUE\s+)?"
    r"(?P<kind>CONSTRAINT|INDEX|TRIGGER|FUNCTION)\s+(?:IF\s+(?:NOT\s+)?EXISTS\s+)?"
    r"(?P<name>\w+)(?:[^;]*?\bON\s+(?P<table>\w+))?"
)
EXISTING = {
    "CONSTRAINT": "SELECT conname, '' FROM pg_constraint",
    "INDEX": "SELECT indexname, '' FROM pg_indexes",
    "TRIGGER": "SELECT tgname, relname FROM pg_trigger JOIN pg_class c ON c.oid = tgrelid",
    "FUNCTION": "SELECT proname, '' FROM pg_proc",
}
ONLY_OUTSIDE_TESTS = "no_truncate"


def made_by_sql() -> set[tuple[str, str, str]]:
    """Return what the SQL of all migrations creates and does not drop again."""
    loader = MigrationLoader(connection)
    made: set[tuple[str, str, str]] = set()
    for app, name in loader.graph._generate_plan(
        loader.graph.leaf_nodes(), at_end=True
    ):
        for operation in loader.disk_migrations[app, name].operations:
            if isinstance(operation, migrations.RunSQL):
                for verb, kind, what, table in MADE.findall(str(operation.sql)):
                    change = made.discard if verb == "DROP" else made.add
                    change((kind, what, table if kind == "TRIGGER" else ""))
    return made


def test_a_migrated_database_has_everything_that_sql_of_migrations_makes(db: None):
    made = {one for one in made_by_sql() if one[1] != ONLY_OUTSIDE_TESTS}
    existing = set()
    with connection.cursor() as cursor:
        for kind, query in EXISTING.items():
            cursor.execute(query)
            existing |= {(kind, name, table) for name, table in cursor.fetchall()}

    assert len(made) > 20
    assert made - existing == set()
