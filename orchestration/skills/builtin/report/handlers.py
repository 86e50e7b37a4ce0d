"""Reports: render rows and values as HTML, with a sandboxed template."""

import csv
import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from orchestration.skills.builtin.common import shown
from orchestration.skills.builtin.report.template import TEMPLATE
from orchestration.skills.domain.handlers import dry_run_of, handler
from orchestration.skills.domain.outcome import (
    Call,
    DryRunResult,
    Failed,
    File,
    Outcome,
    Succeeded,
)

RENDER = "report.render@1"
MOST_ROWS = 10_000


@handler(RENDER)
def render(call: Call) -> Outcome:
    try:
        rows = _rows(call.params.get("rows", []))
    except ValueError as error:
        return Failed("report.rows", f"Cannot read the rows: {error}.")
    most = call.config.get("max_rows", MOST_ROWS)
    if len(rows) > most:
        message = f"Cannot render {len(rows)} rows: too many (max {most}). Select fewer rows first."
        return Failed("report.too_long", message)
    try:
        page = _page(call.params, rows)
    except (TemplateError, ArithmeticError, TypeError, ValueError) as error:
        message = f"Cannot render the template: {error}. Correct it."
        return Failed("report.template", message)
    path = call.workdir / f"{call.params.get('name', 'report')}.html"
    content = page.encode()
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return Succeeded(
        output={"rows": len(rows), "bytes": len(content), "sha256": digest},
        files={"document": path},
    )


@dry_run_of(RENDER)
def preview(call: Call) -> DryRunResult:
    title, rows = call.params["title"], call.params.get("rows", [])
    is_rows = isinstance(rows, list) and not any(isinstance(row, File) for row in rows)
    what = f"{len(rows)} rows" if is_rows else shown(rows)
    return DryRunResult(summary=f"Renders {what} as the page “{shown(title)}”.")


def _rows(value: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for part in value if isinstance(value, list) else [value]:
        rows += _rows_in(part) if isinstance(part, File) else [part]
    return rows


def _rows_in(source: File) -> list[dict[str, Any]]:
    if source.name.lower().endswith((".csv", ".tsv")):
        delimiter = "\t" if source.name.lower().endswith(".tsv") else ","
        with source.path.open(newline="", encoding="utf-8-sig") as file:
            return list(csv.DictReader(file, delimiter=delimiter))
    loaded = json.loads(source.path.read_text(encoding="utf-8-sig"))
    if not isinstance(loaded, list) or not all(isinstance(row, dict) for row in loaded):
        message = f"{source.name} is not a list of objects"
        raise ValueError(message)
    return loaded


def _page(params: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    every = dict.fromkeys(key for row in rows for key in row if key)
    columns = params.get("columns") or list(every)
    template = params.get("template", TEMPLATE)
    if isinstance(template, File):
        template = template.path.read_text(encoding="utf-8")
    # Sandboxed and immutable: a template comes from a proposer, and may reach
    # neither Python's internals nor any file.
    environment = ImmutableSandboxedEnvironment(
        autoescape=True, undefined=StrictUndefined, loader=None, trim_blocks=True
    )
    return environment.from_string(template).render(
        title=params["title"],
        summary=params.get("summary", ""),
        columns=columns,
        numeric=[name for name in columns if _numeric(name, rows)],
        rows=rows,
        values=params.get("values", {}),
    )


def _numeric(column: str, rows: Sequence[Mapping[str, Any]]) -> bool:
    values = [row.get(column) for row in rows]
    known = [value for value in values if value not in (None, "")]
    return bool(known) and all(_is_number(value) for value in known)


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True
