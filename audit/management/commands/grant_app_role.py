"""Grant the database role of the application its rights."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import connection
from psycopg import sql

INSERT_ONLY = """
SELECT c.relname FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE t.tgname = 'insert_only' AND NOT t.tgisinternal ORDER BY 1
"""


class Command(BaseCommand):
    help = (
        "Grant the application's database role its rights; it can only insert events."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        role = sql.Identifier(settings.APP_DATABASE_ROLE)
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT 1 FROM pg_roles WHERE rolname = %s",
                [settings.APP_DATABASE_ROLE],
            )
            if cursor.fetchone() is None:
                self.stderr.write(
                    f"The role {settings.APP_DATABASE_ROLE!r} does not exist. The application"
                    " uses the owner of the tables, and only triggers protect the audit"
                    " log."
                )
                return
            for statement in (
                "GRANT USAGE ON SCHEMA public TO {}",
                "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {}",
                "REVOKE TRUNCATE ON ALL TABLES IN SCHEMA public FROM {}",
                "GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO {}",
                "REVOKE DELETE ON audit_stream FROM {}",
            ):
                cursor.execute(sql.SQL(statement).format(role))
            cursor.execute(INSERT_ONLY)
            tables = [row[0] for row in cursor.fetchall()]
            for table in tables:
                revoke = sql.SQL("REVOKE UPDATE, DELETE, TRUNCATE ON {} FROM {}")
                cursor.execute(revoke.format(sql.Identifier(table), role))
        self.stdout.write(f"Granted. Insert-only tables: {', '.join(tables)}")
