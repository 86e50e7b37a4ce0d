"""A small registry and short hands for tests of the plan language."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestration.plans.domain import form, source, validation
from orchestration.plans.domain.catalog import CatalogEntry
from orchestration.plans.domain.document import PlanDocument
from orchestration.plans.domain.problem import Problem
from orchestration.skills.domain.contract import (
    FILE_SCHEMA,
    ActionContract,
    Risk,
    SkillContract,
)

FOLDER = Path(__file__).parent
HEAD = "id: p\nsteps:\n"
YIELD = "id: a, skill: lab, action: yield"


def record(required: Sequence[str] = (), **properties: Any) -> dict[str, Any]:
    """Return the schema of an object with only these properties."""
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": properties,
    }


TEXT = {"type": "string"}


def action(name: str, **fields: Any) -> ActionContract:
    """Build an action; by default it has no parameters and no output."""
    given = {
        "summary": name,
        "handler": f"lab.{name}@1",
        "input_schema": record(),
        "output_schema": record(),
        "risk": Risk.LOW,
    } | fields
    return ActionContract(name=name, **given)


def skill(slug: str, *actions: ActionContract) -> SkillContract:
    """Build a skill with these actions."""
    return SkillContract(slug, "1.0.0", slug, "", actions)


GIT = skill(
    "git-operations",
    action(
        "create-branch",
        input_schema=record(["name"], name=TEXT, start=TEXT),
        output_schema=record(["branch"], branch=TEXT, commits={"type": "integer"}),
        undo="delete-branch",
    ),
    action(
        "delete-branch",
        input_schema=record(["name"], name=TEXT, force={"type": "boolean"}),
    ),
)
JIRA = skill(
    "jira-write",
    action(
        "transition",
        input_schema=record(["issue", "status"], issue=TEXT, status=TEXT),
        output_schema=record(["previous"], previous=TEXT),
        undo="transition",
        undo_params={"status": "$self.output.previous"},
        risk=Risk.HIGH,
    ),
)
LAB = skill(
    "lab",
    action(
        "ask",
        input_schema=record(
            ["prompt"], prompt={}, severity={"type": ["string", "null"]}
        ),
        output_schema={"type": "object", "properties": {"severity": TEXT}},
    ),
    action(
        "yield",
        input_schema=record(
            n={"type": "integer", "minimum": 1}, rows={"type": "array"}
        ),
        output_schema=record(
            text=TEXT,
            n={"type": "integer"},
            rows={"type": "array", "items": record(a={"type": "number"})},
        ),
        files=("table",),
    ),
    action("take", input_schema=record(["file"], file=FILE_SCHEMA, title=TEXT)),
    action(
        "choose",
        input_schema=record(
            either={"anyOf": [{"type": "integer"}, record(["a"], a=TEXT)]}
        ),
    ),
)


class Registry:
    """A catalog of contracts, each in one version."""

    def __init__(self, *contracts: SkillContract, **changes: Any) -> None:
        self._entries = {
            one.slug: replace(
                CatalogEntry(one, "active", "d" * 64, True, True, f"id-{one.slug}"),
                **changes,
            )
            for one in contracts or (GIT, JIRA, LAB)
        }

    def find(self, slug: str, version: str | None) -> CatalogEntry | None:
        entry = self._entries.get(slug)
        known = entry is not None and version in {None, entry.contract.version}
        return entry if known else None

    def known_versions(self, slug: str) -> Sequence[str]:
        return [self._entries[slug].contract.version] if slug in self._entries else []

    def slugs(self) -> Sequence[str]:
        return list(self._entries)


def read(text: str) -> tuple[PlanDocument | None, list[Problem]]:
    """Return the plan in a text, and its form problems."""
    return form.read(source.parse(text))


def plan(text: str) -> PlanDocument:
    """Return the plan in a text of valid form."""
    document, problems = read(text)
    assert document is not None
    assert problems == []
    return document


def check(
    text: str,
    *,
    registry: Registry | None = None,
    inputs: Mapping[str, Any] | None = None,
    groups: Mapping[str, int] | None = None,
) -> list[Problem]:
    """Every problem of a text, of form and of content."""
    parsed = source.parse(text)
    document, problems = form.read(parsed)
    if document is None:
        return problems
    found = validation.validate(
        document,
        parsed.positions,
        catalog=registry or Registry(),
        inputs=inputs,
        groups=groups,
    )
    return [*problems, *found.problems]


def places(problems: Sequence[Problem]) -> list[tuple[str, int | None, int | None]]:
    """Code, line and column of each problem."""
    return [(one.code, one.line, one.column) for one in problems]
