"""The graph of a plan as pages draw it: boxes, arrows and the facts in each box."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from orchestration.plans.domain.document import PlanDocument, StepDocument
from orchestration.plans.domain.layout import Layout, Spot, bends, layout
from orchestration.plans.domain.subplans import SEPARATOR, joined

AT_ONCE = 200
"""Steps up to which a page draws the graph without being asked."""
MOST = 1_000
"""Steps up to which a graph is drawn at all."""
MOST_BENDS = 10_000
"""Points that arrows pass up to which a graph is drawn: a second at most."""
WIDTH, HEIGHT = 288, 92
"""The box of a step, in pixels."""
MARGIN = 24
SCREEN = (900, 700)
"""What is seen without scrolling, in pixels."""
JOINS: Mapping[str, str] = {
    "one_success": "after the first success",
    "all_done": "after all have ended",
}
"""When a step starts that does not wait for all its dependencies to succeed."""


@dataclass(frozen=True)
class GraphStep:
    """The facts of a step that its box shows."""

    id: str
    name: str = ""
    kind: str = "skill"
    action: str = ""
    """The skill and its action; empty for a step without a skill."""
    after: tuple[str, ...] = ()
    join: str = ""
    risk: str = ""
    has_gate: bool = False
    """It needs its own approval before it runs, or a step inside it does."""
    inside: int = 0
    """The number of steps inside a plan step."""
    place: int = 0
    """The index among all steps of the plan, with those inside plan steps."""


@dataclass(frozen=True)
class GraphNode:
    """A box, and what only one of the pages knows about its step."""

    step: GraphStep
    position: int
    x: int
    y: int
    url: str
    state: str = ""
    line: int = 0
    """The line of the step in the text of the plan."""
    has_error: bool = False
    items: str = ""
    """How many of its items have succeeded."""


@dataclass(frozen=True)
class Graph:
    nodes: Sequence[GraphNode] = ()
    paths: Sequence[str] = ()
    frame: tuple[int, int, int, int] | None = None
    """A frame around the steps without dependencies: x, y, width, height."""
    width: int = 0
    height: int = 0
    total: int = 0
    limit: int = MOST
    parallel: int = 1
    """How many steps may run at the same time; 0 for any number."""
    withheld: str = ""
    """The reason why it is not drawn: `large`, `too_large`, `too_dense` or `cycle`."""

    @property
    def has_gates(self) -> bool:
        return any(node.step.has_gate for node in self.nodes)


@dataclass(frozen=True)
class OfStep:
    """What one page knows about a step: its link, and its state or its problems."""

    url: str
    state: str = ""
    line: int = 0
    has_error: bool = False
    items: str = ""


def drawn(
    steps: Sequence[GraphStep],
    about: Callable[[int, GraphStep], OfStep],
    *,
    parallel: int,
    wanted: bool,
) -> Graph:
    """Lay out and describe a graph; a large one only if it is `wanted`.

    :param steps: in an order in which they may run
    """
    total = len(steps)
    if total > MOST or (total > AT_ONCE and not wanted):
        withheld = "too_large" if total > MOST else "large"
        return Graph(total=total, parallel=parallel, withheld=withheld)
    edges = _edges(steps)
    if bends(edges) > MOST_BENDS:
        return Graph(total=total, parallel=parallel, withheld="too_dense")
    plan = layout(edges)
    paper = min((_Paper(plan, across=across) for across in (False, True)), key=_screens)
    nodes = []
    for position, step in enumerate(steps):
        x, y = paper.corner(plan.spots[step.id])
        nodes.append(GraphNode(step, position, x, y, **vars(about(position, step))))
    return Graph(
        nodes=nodes,
        paths=[paper.arrow(route.spots) for route in plan.routes],
        frame=paper.frame(plan.loose),
        width=paper.size[0],
        height=paper.size[1],
        total=total,
        parallel=parallel,
    )


def of_document(
    document: PlanDocument,
    order: Iterable[str],
    risks: Mapping[str, str],
    gated: frozenset[str],
    inner: Mapping[str, PlanDocument] = {},
) -> list[GraphStep]:
    """Return the steps of a plan, with their risks; those with a gate are `gated`.

    `inner` are its sub-plans. Their steps are counted, not drawn.
    """
    counts = Counter(path.partition(SEPARATOR)[0] for path in _inside(inner))
    gated_roots = {path.partition(SEPARATOR)[0] for path in gated}
    steps = []
    for key in order:
        step = document.by_id[key]
        steps.append(
            GraphStep(
                id=key,
                name=step.name,
                kind=step.kind,
                action=_action(step),
                after=_after(step.depends_on, document.routers.get(key)),
                join=_start(
                    str(step.trigger_rule),
                    is_chosen=key in document.routers,
                    has_condition=bool(step.when),
                    has_items=step.for_each is not None,
                ),
                risk=risks.get(key, ""),
                has_gate=key in gated_roots,
                inside=counts[key],
            )
        )
    return steps


def of_subject(subject: Mapping[str, Any]) -> list[GraphStep]:
    """Return the steps of the content that a plan gate asks to approve."""
    every = [*subject.get("steps", ())]
    inner = [step for step in every if step.get("inside")]
    counts = Counter(_root(step) for step in inner)
    gated = {_root(step) for step in inner if step.get("gates")}
    return [
        GraphStep(
            id=step["id"],
            name=str(step.get("name", "")),
            kind=str(step.get("kind", "skill")),
            action=_action_of(step),
            after=_after(step.get("depends_on") or (), step.get("chosen_by")),
            join=_start(
                str(step.get("trigger_rule", "all_success")),
                is_chosen="chosen_by" in step,
                has_condition="when" in step,
                has_items="for_each" in step,
            ),
            risk=str(step.get("risk", "")),
            has_gate=bool(step.get("gates")) or step["id"] in gated,
            inside=counts[step["id"]],
            place=place,
        )
        for place, step in enumerate(every)
        if not step.get("inside")
    ]


def _root(step: Mapping[str, Any]) -> str:
    return str(step["inside"]).partition(SEPARATOR)[0]


def _inside(inner: Mapping[str, PlanDocument]) -> Iterator[str]:
    for path, document in inner.items():
        yield from (joined(path, step.id) for step in document.steps)


def _action_of(step: Mapping[str, Any]) -> str:
    if "revision" in step:
        return f"{step.get('plan', '')} revision {step['revision']}"
    return f"{step.get('skill', '')} {step.get('action', '')}".strip()


def _after(depends_on: Iterable[str], router: str | None) -> tuple[str, ...]:
    """Return what comes before a step; its choose step does in any case."""
    return tuple(dict.fromkeys((*depends_on, *([router] if router else ()))))


def _start(rule: str, *, is_chosen: bool, has_condition: bool, has_items: bool) -> str:
    """Say when and how often a step starts, if not once after all its dependencies."""
    counted = "" if rule == "all_success" else f"after {rule} successes"
    words = [
        JOINS.get(rule, counted),
        "if chosen" if is_chosen else "",
        "on a condition" if has_condition else "",
        "once for each item" if has_items else "",
    ]
    return ", ".join(filter(None, words))


def _action(step: StepDocument) -> str:
    return step.plan or f"{step.skill} {step.action}".strip()


def _edges(steps: Sequence[GraphStep]) -> dict[str, list[str]]:
    """Return the dependencies on earlier steps; there can be no cycle among them."""
    edges: dict[str, list[str]] = {}
    for step in steps:
        edges[step.id] = [one for one in dict.fromkeys(step.after) if one in edges]
    return edges


class _Paper:
    """The places of a layout in pixels, with arrows that point down or to the right."""

    def __init__(self, plan: Layout, *, across: bool) -> None:
        self._plan = plan
        self._across = across
        # From one box to the next: within a layer, and to the next layer.
        self._lane, self._layer = (116, 356) if across else (320, 148)

    @property
    def size(self) -> tuple[int, int]:
        x, y = self.corner(Spot(self._plan.columns - 1, self._plan.layers - 1))
        return max(x, 0) + WIDTH + MARGIN, max(y, 0) + HEIGHT + MARGIN

    def corner(self, spot: Spot) -> tuple[int, int]:
        """Return the upper left corner of the box at a spot."""
        lane, layer = round(spot.x * self._lane), spot.layer * self._layer
        x, y = (layer, lane) if self._across else (lane, layer)
        return x + MARGIN, y + MARGIN

    def arrow(self, spots: Sequence[Spot]) -> str:
        """Draw curves between the layers, and straight lines past other boxes."""
        length, line = (WIDTH, "H") if self._across else (HEIGHT, "V")
        boxes = [self._along(spot) for spot in spots]
        start, middle = boxes[0]
        parts = [f"M{self._point(start + length, middle)}"]
        for (start, middle), (to, to_middle) in pairwise(boxes):
            half = (start + length + to) // 2
            curve = (half, middle), (half, to_middle), (to, to_middle)
            parts.append(f"C{' '.join(self._point(*point) for point in curve)}")
            parts.append(f"{line}{to + length}")
        return "".join(parts[:-1])

    def _along(self, spot: Spot) -> tuple[int, int]:
        """Return where a box starts in the direction of arrows, and its middle."""
        x, y = self.corner(spot)
        return (x, y + HEIGHT // 2) if self._across else (y, x + WIDTH // 2)

    def _point(self, along: int, middle: int) -> str:
        return f"{along} {middle}" if self._across else f"{middle} {along}"

    def frame(self, loose: Sequence[str]) -> tuple[int, int, int, int] | None:
        """Frame the steps without dependencies, so that they do not look ordered."""
        if len(loose) < 2:  # noqa: PLR2004  one step is in no row
            return None
        xs, ys = zip(
            *(self.corner(self._plan.spots[key]) for key in loose), strict=True
        )
        inset = MARGIN // 2 - 1
        left, top = min(xs) - inset, min(ys) - inset
        width, height = max(xs) + WIDTH + inset - left, max(ys) + HEIGHT + inset - top
        return left, top, width, height


def _screens(paper: _Paper) -> float:
    """Return over how many screens a picture extends."""
    width, height = paper.size
    return max(1.0, width / SCREEN[0]) * max(1.0, height / SCREEN[1])
