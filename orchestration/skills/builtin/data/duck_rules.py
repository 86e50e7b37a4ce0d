"""Check what a query refers to: its sources only, and nothing that reveals the host.

DuckDB shows its settings, the definitions of its views and the text of the running
statement. All of them contain paths of this host.
"""

import json
from collections.abc import Collection, Iterator
from typing import Any

import duckdb

TABLE_FUNCTIONS = frozenset(
    {
        *("generate_series", "json_each", "json_tree", "range", "repeat", "repeat_row"),
        *("summary", "unnest"),
    }
)
"""Table functions that use their arguments only."""
REFUSED = frozenset(
    {
        *("current_query", "current_setting", "getenv", "json_execute_serialized_sql"),
        *("json_serialize_plan", "parse_duckdb_log_message", "pg_get_constraintdef"),
        *("pg_get_expr", "pg_get_viewdef", "write_log"),
    }
)
_INTERNAL = "SELECT DISTINCT lower(table_name) FROM information_schema.tables UNION SELECT lower(view_name) FROM duckdb_views() WHERE internal"


def refusal(
    connection: duckdb.DuckDBPyConnection, sql: str, sources: Collection[str]
) -> str:
    """Return why a query is not allowed; empty if it is."""
    serialized = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [sql])
    row: Any = serialized.fetchone()
    tree = json.loads(row[0])
    if tree["error"]:
        return str(tree["error_message"])
    own = {name.lower() for name in sources}
    internal = {row[0] for row in connection.execute(_INTERNAL).fetchall()} - own
    problems = _refused(tree, frozenset(own), frozenset(internal))
    return next(problems, "")


def _refused(
    node: Any, known: frozenset[str], internal: frozenset[str]
) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from _refused(item, known, internal)
    elif isinstance(node, dict):
        names = [item["key"].lower() for item in _with(node)]
        yield from (
            f"The name {name!r} is reserved. Use another name."
            for name in names
            if name in internal
        )
        known |= set(names)
        if problem := _problem(node, known):
            yield problem
        for item in node.values():
            yield from _refused(item, known, internal)


def _with(node: dict[str, Any]) -> list[Any]:
    """Return the queries that a node names by WITH."""
    entries: list[Any] = (node.get("cte_map") or {}).get("map", [])
    return entries


def _problem(node: dict[str, Any], known: frozenset[str]) -> str:
    kind = node.get("type")
    if kind == "BASE_TABLE":
        name = ".".join(node["qualified_name"]["path"])
        is_known = name.lower() in known
        return "" if is_known else f"Unknown table {name!r}. Add it to the sources."
    if kind == "TABLE_FUNCTION":
        name = _function(node["function"])
        allowed = name in TABLE_FUNCTIONS
        return "" if allowed else f"The table function {name} is not allowed."
    if kind == "SHOW_REF" and node.get("query") is None:
        return "SHOW is not allowed."
    if node.get("class") == "FUNCTION" and _function(node) in REFUSED:
        return f"The function {_function(node)} is not allowed."
    return ""


def _function(node: dict[str, Any]) -> str:
    return str(node["function_name"]).lower()
