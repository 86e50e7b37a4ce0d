"""The steps of the reference interpreter, and the rules that need no other steps."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.plan_shapes import Plan, Step

PENDING, OPEN = "pending", "open"
DONE, FAILED, BLOCKED, LEFT = "done", "failed", "blocked", "left"
REJECTED, CANCELLED = "rejected", "cancelled"
WAITS, STARTS = "waits", "starts"
BAD = {FAILED, BLOCKED, REJECTED, CANCELLED}
ENDED = {DONE, LEFT, *BAD}
KEYS = {"room": 1, "desk": 2}
"""How many steps may proceed at once with a concurrency key."""


@dataclass(eq=False)
class Node:
    """A step of the run: of the plan or a sub-plan, an item or a fallback."""

    name: str
    step: Step
    order: tuple[int, ...]
    n_input: int
    role: str = "step"  # or "item" or "fallback"
    around: "Node | None" = None
    state: str = PENDING
    work: str = ""  # of an open leaf: "asks", "waits", "queued", "ready" or "works"
    n: int | None = None
    chosen: tuple[str, ...] = ()
    members: list["Node"] = field(default_factory=list)
    fallback: "Node | None" = None

    @property
    def is_list(self) -> bool:
        return self.role == "step" and self.step.items is not None

    @property
    def is_container(self) -> bool:
        return self.is_list or (self.step.kind == "plan" and self.role != "fallback")


def joined(step: Step, ends: list[str]) -> str:
    """Return what the trigger rule of a step says, by the ends of its dependencies."""
    good, left = ends.count(DONE), ends.count(LEFT)
    bad = sum(end in BAD for end in ends)
    is_open = good + bad + left < len(ends)
    if not ends:
        return STARTS
    if step.needed == "done":
        return WAITS if is_open else STARTS
    if step.needed == "all":
        is_met, never = good > 0 and not is_open and not bad, bad > 0
    else:
        is_met = good >= int(step.needed)
        never = bad > 0 and len(ends) - bad - left < int(step.needed)
    if is_met or never:
        return STARTS if is_met else BLOCKED
    return WAITS if is_open else LEFT


def in_order(plan: Plan) -> Iterator[Step]:
    """Iterate in the order of the document, over each step after its dependencies."""
    rest = [*plan.steps]
    while rest:
        missing = {step.id for step in rest}
        step = next(
            each for each in rest if not missing & {*each.after, each.router}
        )  # fmt: skip
        rest.remove(step)
        yield step


def all_ended(nodes: list[Node]) -> bool:
    return all(node.state in ENDED for node in nodes)


def is_running(item: Node) -> bool:
    """Return True for an item that counts against `max`."""
    if item.is_container:
        return item.state == OPEN
    fallback = item.fallback
    return "works" in {item.work, fallback.work if fallback else ""}


def verdict(node: Node) -> str:
    """Return how a list or a sub-plan has ended."""
    ends = [each.state for each in node.members]
    join = node.step.items.join if node.is_list else "all"
    is_good = not BAD & set(ends)
    if join == "any":
        is_good = is_good or DONE in ends
    elif join != "all":
        is_good = ends.count(DONE) >= int(join)
    if is_good:
        return DONE
    return FAILED if {FAILED, BLOCKED} & {*ends} or not BAD & {*ends} else CANCELLED
