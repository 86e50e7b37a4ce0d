"""Check a plan before it is proposed: every problem at once, without running it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import F

from approvals import selectors as approvals
from approvals import voters
from approvals.domain.policy import ActionFacts, demands
from execfabric.identity.authority import require
from execfabric.lib.actor import Actor
from execfabric.lib.rights import Right, Role
from orchestration.plans.domain import document as documents
from orchestration.plans.domain import form, gates, source, validation
from orchestration.plans.domain.catalog import CatalogEntry
from orchestration.plans.domain.document import PlanDocument, StepDocument
from orchestration.plans.domain.gates import PlannedGate
from orchestration.plans.domain.problem import Problem
from orchestration.plans.errors import PlanInvalid
from orchestration.skills import selectors as skills
from orchestration.skills.domain.contract import ActionContract
from orchestration.skills.domain.states import VersionState
from orchestration.skills.models import SkillVersion


@dataclass(frozen=True)
class Checked:
    """The result of checking a plan."""

    document: PlanDocument | None
    digest: str = ""
    order: Sequence[str] = ()
    gates: Sequence[PlannedGate] = ()
    problems: Sequence[Problem] = ()
    pins: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    entries: Mapping[str, CatalogEntry] = field(default_factory=dict)
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """The inputs of the run, with defaults."""

    @property
    def valid(self) -> bool:
        """True if the plan may be proposed; warnings do not matter."""
        return self.document is not None and not any(
            problem.severity == "error" for problem in self.problems
        )

    def require_valid(self) -> PlanDocument:
        """Return the document if the plan may be proposed.

        :raises PlanInvalid: with every problem in `details["problems"]`
        """
        if self.document is None or not self.valid:
            raise PlanInvalid(problems=[item.as_json() for item in self.problems])
        return self.document


def check(*, text: str | bytes, inputs: Mapping[str, Any] | None, by: Actor) -> Checked:
    """Read and validate a plan for this proposer; nothing is stored.

    :raises RightMissing: if `by` may not propose
    """
    require(by, Right.PROPOSE)
    parsed = source.parse(text)
    document, problems = form.read(parsed)
    if document is None:
        return Checked(None, problems=problems)
    if inputs is not None:
        inputs = _with_defaults(document, inputs)
    catalog = SkillCatalog(by)
    validated = validation.validate(
        document,
        parsed.positions,
        catalog=catalog,
        inputs=inputs,
        groups=_group_sizes(by),
    )
    entries = catalog.entries_of(document)
    return Checked(
        document=document,
        digest=documents.digest(document),
        order=validated.order,
        gates=gates.planned_gates(document, entries, _policy_reasons()),
        problems=[*problems, *validated.problems],
        pins=validated.pins,
        entries=entries,
        inputs=inputs or {},
    )


class SkillCatalog:
    """The registry of skills for one proposer, with the versions read so far."""

    def __init__(self, by: Actor) -> None:
        self._may_see = skills.permitted_slugs(by, "view_skill")
        self._may_propose = skills.permitted_slugs(by, "propose_skill")
        self._entries: dict[tuple[str, str | None], CatalogEntry | None] = {}

    def find(self, slug: str, version: str | None) -> CatalogEntry | None:
        """Return this version, or the current one; None if there is none."""
        key = (slug, version)
        if key not in self._entries:
            self._entries[key] = self._look_up(slug, version)
        return self._entries[key]

    def known_versions(self, slug: str) -> Sequence[str]:
        """Return the published versions of a visible skill."""
        if slug not in self._may_see:
            return ()
        rows = SkillVersion.objects.filter(skill__slug=slug, state="published")
        return list(rows.order_by("published_at").values_list("version", flat=True))

    def slugs(self) -> Sequence[str]:
        """Return the skills that the proposer may see."""
        return sorted(self._may_see)

    def entries_of(self, document: PlanDocument) -> dict[str, CatalogEntry]:
        """Return the version that each skill step will be pinned to, if there is one."""
        entries = {
            step.id: self.find(step.skill, step.version)
            for step in document.steps
            if step.kind == "skill"
        }
        return {key: entry for key, entry in entries.items() if entry is not None}

    def _look_up(self, slug: str, version: str | None) -> CatalogEntry | None:
        if slug not in self._may_see:
            return None
        rows = SkillVersion.objects.filter(skill__slug=slug)
        if version is None:
            rows = rows.filter(pk=F("skill__current_id"))
        else:
            rows = rows.filter(version=version, state=VersionState.PUBLISHED)
        version_id = rows.values_list("id", flat=True).first()
        if version_id is None:
            return None
        pin = skills.pinned([str(version_id)])[str(version_id)]
        return CatalogEntry(
            contract=pin.contract,
            state=pin.skill_state,
            digest=pin.digest,
            may_propose=slug in self._may_propose,
            available=all(skills.handler_fits(pin, key) for key in pin.code),
            version_id=pin.version_id,
        )


def _with_defaults(document: PlanDocument, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs, with the defaults of the plan's schema for missing ones."""
    properties = (document.inputs_schema or {}).get("properties")
    if not isinstance(properties, Mapping):
        return dict(inputs)
    defaults = {
        name: schema["default"]
        for name, schema in properties.items()
        if isinstance(schema, Mapping) and "default" in schema
    }
    return {**defaults, **inputs}


def _group_sizes(by: Actor) -> dict[str, int]:
    """Return how many users other than the proposer may decide, by role."""
    deciders = voters.deciders([str(role) for role in Role])
    own = {by.key, by.on_behalf_of}
    return {role: len(keys - own) for role, keys in deciders.items()}


def _policy_reasons() -> Any:
    rules = approvals.policies_in_force()

    def reasons(step: StepDocument, action: ActionContract) -> list[str]:
        facts = ActionFacts(
            skill=step.skill or "",
            action=action.name,
            risk=str(action.risk),
            effect_class=str(action.effect_class),
        )
        return list(demands(facts, rules).reasons)

    return reasons
