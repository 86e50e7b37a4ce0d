"""Check a plan before it is proposed: every problem at once, without running it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import F

from approvals import selectors as approvals
from approvals import voters
from execfabric.identity.authority import require
from execfabric.lib.actor import Actor
from execfabric.lib.refusal import Refusal
from execfabric.lib.rights import Right, Role
from orchestration.plans import selectors
from orchestration.plans.domain import document as documents
from orchestration.plans.domain import form, source
from orchestration.plans.domain.catalog import CatalogEntry
from orchestration.plans.domain.document import PlanDocument
from orchestration.plans.domain.gates import PlannedGate, planned_gates
from orchestration.plans.domain.inputs import defaults_of
from orchestration.plans.domain.problem import (
    ERROR,
    Positions,
    Problem,
    in_order,
    position,
    root_of,
)
from orchestration.plans.domain.rights import PlanRight
from orchestration.plans.domain.subplans import SavedPlan, documents_of, joined, placed
from orchestration.plans.domain.validation import (
    FileFinder,
    Validation,
    no_files,
    validate,
)
from orchestration.plans.domain.waiting import WaitLimits
from orchestration.plans.errors import PlanIdTaken, PlanInvalid, RevisionUnknown
from orchestration.plans.models import Plan
from orchestration.plans.services import foreseen
from orchestration.skills import selectors as skills
from orchestration.skills.domain.states import VersionState
from orchestration.skills.models import SkillVersion


@dataclass(frozen=True)
class CheckedPlan(Validation):
    document: PlanDocument | None = None
    digest: str = ""
    gates: Sequence[PlannedGate] = ()
    inputs: Mapping[str, Any] = field(default_factory=dict)
    """The inputs of the run, with defaults and a reference for each file."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """The steps that the inputs alone leave out, with the reason of each."""
    lines: Mapping[str, int] = field(default_factory=dict)
    """The line in the text at which each step begins."""

    @property
    def included(self) -> dict[str, PlanDocument]:
        """The sub-plans, by the paths of their plan steps."""
        return documents_of(self.subplans)

    @property
    def paths(self) -> list[str]:
        """The paths of all steps of a valid plan, in order."""
        document = self.require_valid()
        return [each.path for each in placed(document, self.included)]

    @property
    def all_paths(self) -> list[str]:
        """The paths of all steps and their fallbacks, in order."""
        places = placed(self.require_valid(), self.included)
        return [
            joined(each.around, key)
            for each in places
            for key in each.plan.with_fallbacks([each.step.id])
        ]

    @property
    def places(self) -> list[tuple[str, str]]:
        """The path of each step, and for a plan step the title of its saved plan."""
        return [(path, _title(self.pins.get(path, {}))) for path in self.paths]

    @property
    def valid(self) -> bool:
        """True if the plan may be proposed; warnings do not matter."""
        return self.document is not None and not any(
            problem.severity == "error" for problem in self.problems
        )

    @property
    def inputs_are_valid(self) -> bool:
        """True if the run has inputs and none of them is wrong."""
        return bool(self.inputs) and not any(one.input for one in self.problems)

    @property
    def runs(self) -> int:
        """The number of steps that the inputs do not leave out."""
        return len(self.order) - len(self.left_out)

    def require_valid(self) -> PlanDocument:
        """Return the document if the plan may be proposed.

        :raises PlanInvalid: with every problem in `details["problems"]`
        :raises PlanIdTaken: when the only error is that `by` may not use the id
        """
        if self.document is not None and self.valid:
            return self.document
        problems = [item.as_json() for item in self.problems]
        errors = [item for item in self.problems if item.severity == ERROR]
        refusal = PlanInvalid(problems=problems)
        if {item.code for item in errors} == {PlanIdTaken.code}:
            refusal = PlanIdTaken(errors[0].message, problems=problems)
        refusal.checked = self
        raise refusal


NO_NUMBERS: Mapping[str, int] = {}
NO_VERSIONS: Mapping[str, str] = {}


def checked_of(refusal: Refusal | None) -> CheckedPlan | None:
    """Return the check for which a plan was refused, if it was."""
    checked: CheckedPlan | None = getattr(refusal, "checked", None)
    return checked


@dataclass(frozen=True)
class Bound:
    """What the plan of a run is bound to, when it is checked for that run again."""

    versions: Mapping[str, str] = field(default_factory=dict)
    """The versions of skills that the plan names without a version."""
    revisions: Mapping[str, int] = field(default_factory=dict)
    """The revisions of saved plans that the plan names without one."""


def check(
    *,
    text: str | bytes,
    inputs: Mapping[str, Any] | None,
    by: Actor,
    files: FileFinder = no_files,
    at: datetime | None = None,
    bound: Bound | None = None,
) -> CheckedPlan:
    """Read and validate a plan for this proposer; nothing is stored.

    `files` returns the reference of a file id that they may use, or None. Times in the
    past are not reported if `at` is None. `bound` is for the plan of a run: it has its
    id already.

    :raises RightMissing: if `by` may not propose
    """
    require(by, Right.PROPOSE)
    parsed = source.parse(text)
    document, problems = form.read(parsed)
    if document is None:
        return CheckedPlan(problems)
    if inputs is not None:
        inputs = {**defaults_of(document.inputs_schema), **inputs}
    validated = validate(
        document,
        parsed.positions,
        catalog=SkillCatalog(by, bound.versions if bound else {}),
        inputs=inputs,
        groups=_group_sizes(by),
        files=files,
        plans=SavedPlans(by, bound.revisions if bound else {}),
        limits=WaitLimits(at, settings.GATE_TTL_SECONDS),
    )
    digest = documents.digest(document)
    taken = []
    if bound is None:
        taken = _id_taken(document.id, digest, parsed.positions, by=by)
    found: dict[str, Any] = {
        "problems": in_order([*problems, *taken, *validated.problems]),
        "inputs": validated.inputs or inputs or {},
    }
    return CheckedPlan(
        **vars(validated) | found,
        document=document,
        digest=digest,
        gates=planned_gates(document, validated, approvals.policies_in_force()),
        left_out=_left_out(document, validated),
        lines=_lines(document, parsed.positions),
    )


def _title(pin: Mapping[str, Any]) -> str:
    return f"{pin['plan']} revision {pin['revision']}" if "plan" in pin else ""


def _left_out(document: PlanDocument, validated: Validation) -> Mapping[str, str]:
    if validated.inputs is None or len(validated.order) < len(document.steps):
        return {}
    return foreseen.left_out(document, validated.order, validated.inputs)


RESERVED_IDS = frozenset(
    {
        "check",
        "dry-run",
        "new",
        "preview",
        "problems",
        "propose",
        "save",
        "vocabulary",
    }
)
"""Ids whose page would have the address of another page."""


def id_problem(plan: Plan, digest: str, *, by: Actor) -> str:
    """Return why `by` may not use the id of a plan for this content; else empty.

    Its owners add revisions. Anyone who has the text of a revision may propose it.
    """
    known = set(selectors.saved_of(plan).values_list("digest", flat=True))
    if not known or digest in known or selectors.may(by, PlanRight.EDIT, plan):
        return ""
    return (
        f"The plan id {plan.slug!r} belongs to {selectors.owner_name(plan)}."
        " Choose another id, or ask the owner for the right to edit it."
    )


def _id_taken(
    slug: str, digest: str, positions: Positions, *, by: Actor
) -> list[Problem]:
    plan = Plan.objects.filter(slug=slug).first()
    message = id_problem(plan, digest, by=by) if plan else ""
    if plan is None and slug in RESERVED_IDS:
        message = f"The plan id {slug!r} is reserved. Choose another id."
    line, column = position(positions, (*root_of(positions), "id"))
    problem = Problem("plan.id_taken", message, line=line, column=column)
    return [problem] if message else []


class SavedPlans:
    """The saved plans for one proposer."""

    def __init__(self, by: Actor, bound: Mapping[str, int] = NO_NUMBERS) -> None:
        self._by, self._bound = by, bound
        self._found: dict[tuple[str, int | None], SavedPlan | None] = {}

    def find(self, slug: str, number: int | None) -> SavedPlan | None:
        if number is None:
            number = self._bound.get(slug)
        key = (slug, number)
        if key not in self._found:
            self._found[key] = self._look_up(slug, number)
        return self._found[key]

    def newest(self, slug: str) -> int:
        saved = self.find(slug, None)
        return saved.revision if saved else 0

    def slugs(self) -> Sequence[str]:
        startable = selectors.permitted(self._by, PlanRight.START)
        return list(startable.order_by("slug").values_list("slug", flat=True))

    def _look_up(self, slug: str, number: int | None) -> SavedPlan | None:
        plan = selectors.visible_to(self._by).filter(slug=slug).first()
        try:
            revision = selectors.revision(plan, number) if plan else None
        except RevisionUnknown:
            return None
        if plan is None or revision is None:
            return None
        return SavedPlan(
            slug=slug,
            revision=revision.number,
            revision_id=str(revision.pk),
            digest=selectors.content_digest(revision),
            document=selectors.document(revision),
            may_start=selectors.may(self._by, PlanRight.START, plan),
        )


class SkillCatalog:
    """The registry of skills for one proposer, with the versions read so far."""

    def __init__(self, by: Actor, bound: Mapping[str, str] = NO_VERSIONS) -> None:
        self._bound = bound
        self._may_see = skills.permitted_slugs(by, "view_skill")
        self._may_propose = skills.permitted_slugs(by, "propose_skill")
        self._entries: dict[tuple[str, str | None], CatalogEntry | None] = {}

    def find(self, slug: str, version: str | None) -> CatalogEntry | None:
        version = version or self._bound.get(slug)
        key = (slug, version)
        if key not in self._entries:
            self._entries[key] = self._look_up(slug, version)
        return self._entries[key]

    def known_versions(self, slug: str) -> Sequence[str]:
        if slug not in self._may_see:
            return ()
        rows = SkillVersion.objects.filter(skill__slug=slug, state="published")
        return list(rows.order_by("published_at").values_list("version", flat=True))

    def slugs(self) -> Sequence[str]:
        return sorted(self._may_see)

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


def _lines(document: PlanDocument, positions: Positions) -> dict[str, int]:
    root = root_of(positions)
    paths = {step.id: (*root, "steps", step.index) for step in document.steps}
    return {key: positions[at][0] for key, at in paths.items() if at in positions}


def _group_sizes(by: Actor) -> dict[str, int]:
    """Return how many users other than the proposer may decide, by role."""
    people = voters.members(list(Role))
    others = people.keys() - {by.key, by.on_behalf_of}
    groups = Counter(group for key in others for group in people[key].speaks_for)
    return {str(role): groups[role] for role in Role}
