"""Saved plans inside a plan: found, bounded and checked for one proposer.

A plan step runs a saved plan. Its revision is fixed when the plan is checked, so that
everything that will run is known, and approved, before the run begins. Each revision is
checked once, however often it appears.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from orchestration.plans.domain import graph, iteration
from orchestration.plans.domain.catalog import CatalogEntry
from orchestration.plans.domain.document import MAX_STEPS, PlanDocument, StepDocument
from orchestration.plans.domain.naming import near
from orchestration.plans.domain.problem import ERROR

if TYPE_CHECKING:
    from orchestration.plans.domain.validation import Validation

SEPARATOR = "/"
"""Between the ids of a path, such as `auth/create`."""
MAX_DEPTH = 10
"""Saved plans inside each other."""
MAX_STEP_RUNS = 20_000
"""Step runs of one run, with the items of lists and the steps of sub-plans."""
MAX_REPORTED = 5
"""Errors of one saved plan that are reported."""
TOO_DEEP = f"Plans contain each other at too many levels (max {MAX_DEPTH})"
Wrong = tuple[str, str]
"""A code and a sentence."""


@dataclass(frozen=True)
class SavedPlan:
    """A revision of a saved plan, as a proposer may use it."""

    slug: str
    revision: int
    revision_id: str
    digest: str
    document: PlanDocument
    may_start: bool

    @property
    def title(self) -> str:
        return f"{self.slug} revision {self.revision}"

    @property
    def pin(self) -> dict[str, Any]:
        """What a run stores of a plan step."""
        return {
            "plan": self.slug,
            "revision": self.revision,
            "revision_id": self.revision_id,
            "digest": self.digest,
        }


class PlanFinder(Protocol):
    """The saved plans that a proposer may see."""

    def find(self, slug: str, number: int | None) -> SavedPlan | None:
        """Return a revision, by default the newest."""
        ...

    def newest(self, slug: str) -> int:
        """Return the number of the newest revision; 0 if the plan is not visible."""
        ...

    def slugs(self) -> Sequence[str]: ...


class NoPlans:
    """Find no saved plan: the default, so that access to them is an argument."""

    def find(self, _slug: str, _number: int | None) -> None:
        return None

    def newest(self, _slug: str) -> int:
        return 0

    def slugs(self) -> Sequence[str]:
        return ()


NO_PLANS = NoPlans()


@dataclass(frozen=True)
class Subplan:
    """A saved plan at the place of a plan step."""

    saved: SavedPlan
    checked: "Validation"


@dataclass
class Nesting:
    """The saved plans that were met on the way, each checked once."""

    finder: PlanFinder
    check: Callable[[PlanDocument, "Nesting"], "Validation"]
    chain: tuple[str, ...] = ()
    """The ids of the plans around this one, from the outside."""
    _checked: dict[str, "Validation"] = field(default_factory=dict)

    def subplan(self, step: StepDocument) -> Subplan | Wrong:
        """Return the saved plan of a step with its check, or what prevents that."""
        slug, number = name_of(step.plan)
        if slug in self.chain:
            path = " -> ".join([*self.chain[self.chain.index(slug) :], slug])
            return "plan.subplan_cycle", f"A plan cannot contain itself: {path}."
        if len(self.chain) > MAX_DEPTH:
            path = " -> ".join([*self.chain, slug])
            return "plan.subplan_too_deep", f"{TOO_DEEP}: {path}."
        saved = self.finder.find(slug, number)
        if saved is None:
            return self._unknown(slug, number)
        if not saved.may_start:
            message = f"You may not start plan {slug!r}. Ask its owner for the right."
            return "plan.not_permitted", message
        checked = self._checked.get(saved.revision_id)
        if checked is None:
            inner = replace(self, chain=(*self.chain, slug))
            checked = self._checked[saved.revision_id] = self.check(
                saved.document, inner
            )
        elif len(self.chain) - 1 + checked.depth > MAX_DEPTH:
            path = " -> ".join([*self.chain, slug])
            return "plan.subplan_too_deep", f"{TOO_DEEP}: {path} contains more."
        return Subplan(saved, checked)

    def _unknown(self, slug: str, number: int | None) -> Wrong:
        if newest := self.finder.newest(slug):
            message = f"Plan {slug!r} has no revision {number}. The newest is {newest}."
            return "plan.unknown_revision", message
        hint = near(slug, self.finder.slugs())
        message = f"Unknown plan {slug!r}, or you do not have access to it.{hint}"
        return "plan.unknown_plan", message


def name_of(written: str) -> tuple[str, int | None]:
    """Return id and revision of a saved plan as a step writes it."""
    slug, _, number = written.partition("@")
    return slug, int(number) if number else None


def inner_errors(subplan: Subplan) -> Iterator[str]:
    """Return the first errors inside a saved plan, as sentences."""
    errors = [each for each in subplan.checked.problems if each.severity == ERROR]
    for problem in errors[:MAX_REPORTED]:
        step = f", step {problem.step!r}" if problem.step else ""
        yield f"In {subplan.saved.title}{step}: {problem.message}"


def size_problem(size: int) -> str:
    """Return why a plan with its sub-plans is too large; else empty."""
    if size <= MAX_STEPS:
        return ""
    return f"Too many steps: {size:,} with those of its sub-plans (max {MAX_STEPS:,})."


def runs_of(
    document: PlanDocument,
    nested: Mapping[str, Subplan],
    inputs: Mapping[str, Any] | None,
) -> int:
    """Return how many step runs a run of a plan has at least, with known lists."""
    runs = 0
    for step in document.steps:
        once = 1 + (nested[step.id].checked.step_runs if step.id in nested else 0)
        if step.for_each is None:
            runs += once
        else:
            runs += 1 + len(iteration.known_items(step, inputs) or ()) * once
    return runs


def runs_problem(runs: int) -> str:
    """Return why a run of a plan would be too large; else empty."""
    if runs <= MAX_STEP_RUNS:
        return ""
    return (
        f"Too many steps: {runs:,} with the items of its lists and the steps of its"
        f" sub-plans (max {MAX_STEP_RUNS:,})."
    )


def joined(*ids: str) -> str:
    """Return the path of a step."""
    return SEPARATOR.join(each for each in ids if each)


@dataclass(frozen=True)
class PlacedStep:
    """A step of a plan or of a plan inside it."""

    path: str
    step: StepDocument
    plan: PlanDocument
    """The plan that the step is written in."""
    around: str = ""
    """The path of the plan step that contains it; empty in the plan itself."""


def documents_of(
    subplans: Mapping[str, Subplan], around: str = ""
) -> dict[str, PlanDocument]:
    """Return the plans inside a checked plan by the paths of their plan steps."""
    documents = {}
    for key, subplan in subplans.items():
        path = joined(around, key)
        documents[path] = subplan.saved.document
        documents |= documents_of(subplan.checked.subplans, path)
    return documents


def pins_of(
    document: PlanDocument,
    entries: Mapping[str, CatalogEntry],
    nested: Mapping[str, Subplan],
) -> dict[str, Mapping[str, Any]]:
    """Return what each step is bound to, by its path."""
    pins: dict[str, Mapping[str, Any]] = {
        key: {
            "version_id": entry.version_id,
            "skill": entry.contract.slug,
            "version": entry.contract.version,
            "digest": entry.digest,
            "action": document.by_key[key].action,
        }
        for key, entry in entries.items()
    }
    for key, subplan in nested.items():
        inner = subplan.checked.pins
        pins |= {joined(key, path): pin for path, pin in inner.items()}
        pins[key] = subplan.saved.pin
    return pins


def order_of(document: PlanDocument) -> list[str]:
    """Return the order of the steps of a valid plan."""
    edges = {}
    for step in document.steps:
        router = document.routers.get(step.id)
        edges[step.id] = [*step.depends_on, *([router] if router else [])]
    return graph.order(edges)[0]


def placed(
    document: PlanDocument, inner: Mapping[str, PlanDocument], around: str = ""
) -> Iterator[PlacedStep]:
    """Return every step in order; a plan step comes before the steps inside it."""
    for key in order_of(document):
        path = joined(around, key)
        yield PlacedStep(path, document.by_id[key], document, around)
        if path in inner:
            yield from placed(inner[path], inner, path)
