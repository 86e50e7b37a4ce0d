"""The items of a step with forEach: how far they are, and one page of them."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Count

from approvals.models import Gate
from execfabric.lib import canonical
from orchestration.runs import selectors
from orchestration.runs.domain.states import StepState
from orchestration.runs.models import CONTAINERS, FOR_EACH, Run, StepRun

PAGE = 50
"""Items that a page lists at once."""
VALUE = 120
"""Characters of a value in a list."""
NAMED = (
    StepState.RUNNING,
    StepState.GATED,
    StepState.INDETERMINATE,
    StepState.BACKOFF,
    StepState.FAILED,
    StepState.SKIPPED,
    StepState.SKIPPED_BY_CONDITION,
    StepState.REJECTED,
    StepState.CANCELLED,
)
WORDS = {
    StepState.GATED: "waiting for approval",
    StepState.INDETERMINATE: "with an unknown outcome",
    StepState.BACKOFF: "retried later",
    StepState.SKIPPED: "skipped after failure",
}


@dataclass(frozen=True)
class ItemCounts:
    """The number of items of a step, or of steps of a sub-plan, per state."""

    states: Counter[str]
    noun: str = "item"

    @property
    def total(self) -> int:
        return self.states.total()

    @property
    def short(self) -> str:
        return f"{self.states[StepState.SUCCEEDED]:,} of {self.total:,}"

    @property
    def words(self) -> str:
        """Return how many items succeeded, and how many are in other states."""
        done = self.states[StepState.SUCCEEDED]
        others = [
            f"{self.states[state]:,} {WORDS.get(state, state.replace('_', ' '))}"
            for state in NAMED
            if self.states[state]
        ]
        items = self.noun if self.total == 1 else f"{self.noun}s"
        first = f"{done:,} of {self.total:,} {items} succeeded"
        return ", ".join([first, *others])


@dataclass(frozen=True)
class ItemLine:
    """One item in a list."""

    row: StepRun
    gate: Gate | None

    @property
    def value(self) -> str:
        return value_of(self.row)


@dataclass(frozen=True)
class ItemPage:
    """A part of the items of a step."""

    counts: ItemCounts
    lines: list[ItemLine]
    first: int

    @property
    def last(self) -> int:
        return self.first + len(self.lines)

    @property
    def before(self) -> int | None:
        """The first item of the page before, counted from 1; None on the first."""
        return max(0, self.first - PAGE) + 1 if self.first else None

    @property
    def after(self) -> int | None:
        return self.last + 1 if self.last < self.counts.total else None


def value_of(row: StepRun) -> str:
    """Return the start of the value of an item as JSON; a text without quotes."""
    value = (row.item_value or {}).get("value")
    text = value if isinstance(value, str) else canonical.dumps(value).decode()
    return text if len(text) <= VALUE else f"{text[: VALUE - 1]}…"


def counts_of(run: Run, steps: Iterable[StepRun]) -> Mapping[UUID, ItemCounts]:
    """Return the counts of each step that has items or a sub-plan, by step run."""
    kinds = {step.pk: step.kind for step in steps if step.kind in CONTAINERS}
    parents = [*kinds]
    if not parents:
        return {}
    members = run.steps.filter(parent__in=parents).order_by()
    found: dict[UUID, Counter[str]] = defaultdict(Counter)
    rows = members.values_list("parent", "state").annotate(count=Count("pk"))
    for parent, state, count in rows:
        found[parent][state] = count
    return {
        parent: ItemCounts(states, "item" if kinds[parent] == FOR_EACH else "step")
        for parent, states in found.items()
    }


def listed(step: StepRun, first: int) -> ItemPage | None:
    """Return a page of the items of a step, from the index `first`; None without any."""
    counts = counts_of(step.run, [step]).get(step.pk)
    if counts is None or step.kind != FOR_EACH:
        return None
    first = min(first, max(0, counts.total - 1))
    rows = step.run.steps.filter(parent=step.pk, item__gte=first)
    page = list(rows.defer(*selectors.CONTENT).order_by("item")[:PAGE])
    gates = selectors.gates_by_id(step.run, page)
    lines = [ItemLine(row, gates.get(row.gate_id)) for row in page]
    return ItemPage(counts, lines, first)
