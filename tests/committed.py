"""Put the database back after a test that really commits, without emptying it.

Django's own way truncates every table and then has to register all skills again, which
takes longer than most tests.
"""

from django.db import connection, transaction

KEPT = ("django_content_type", "django_migrations", "auth_permission")
"""Tables that only a migration writes."""
TABLES = """
    SELECT relname FROM pg_class
    WHERE relnamespace = %s::regnamespace AND relkind = 'r' AND relname <> ALL(%s)
    ORDER BY relname
"""
SAVED = "saved"
"""The schema with a copy of every row that each test starts with."""


def save() -> None:
    """Copy every table that has rows now."""
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE SCHEMA {SAVED}")
        for table in tables("public"):
            cursor.execute(f"SELECT EXISTS (SELECT FROM {table})")
            if cursor.fetchone()[0]:
                cursor.execute(f"CREATE TABLE {SAVED}.{table} AS TABLE public.{table}")


def restore() -> None:
    """Give every table the rows that `save` found, and no others."""
    deletes = [f"DELETE FROM public.{table}" for table in tables("public")]
    inserts = [
        f"INSERT INTO public.{table} OVERRIDING SYSTEM VALUE TABLE {SAVED}.{table}"
        for table in tables(SAVED)
    ]
    with transaction.atomic(), connection.cursor() as cursor:
        # Neither triggers nor foreign keys: the order of the statements is free.
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("; ".join(deletes + inserts))


def tables(schema: str) -> list[str]:
    """Return the tables of a schema that tests may write."""
    with connection.cursor() as cursor:
        cursor.execute(TABLES, [schema, list(KEPT)])
        return [name for (name,) in cursor.fetchall()]


def tables_with(text: str) -> list[str]:
    """Return the tables in which a row contains this text."""
    found = "SELECT EXISTS (SELECT FROM public.{} t WHERE strpos(t::text, %s) > 0)"
    with connection.cursor() as cursor:
        return [
            table
            for table in tables("public")
            if cursor.execute(found.format(table), [text]).fetchone()[0]
        ]
