"""A reference interpreter of plans, written from docs/plan-language.md alone.

It shares no code with the engine. It is told what workers, users and time do, derives what
becomes of all steps, and refuses a start that the documents do not allow.
"""

from collections.abc import Callable, Iterator

from tests.plan_shapes import Asked, Plan
from tests.reference_steps import (
    BAD,
    BLOCKED,
    CANCELLED,
    DONE,
    ENDED,
    FAILED,
    KEYS,
    LEFT,
    OPEN,
    PENDING,
    REJECTED,
    STARTS,
    WAITS,
    Node,
    all_ended,
    in_order,
    is_running,
    joined,
    verdict,
)


class Reference:
    """A run that is told what happens outside, and says what becomes of its steps."""

    def __init__(self, plan: Plan, n: int, outside: dict[str, int]) -> None:
        self.plan = plan
        self.top = self._steps_of(plan, None, n)
        self.due: set[str] = set()  # what may start now, at the same time
        self.lines: dict[str, list[str]] = {
            key: ["another run"] * count for key, count in outside.items()
        }
        self.is_halted = False  # paused, or about to be
        self.end_asked = ""  # "rejected", "expired" or "cancelled"
        self.end_of_run = ""

    # What there is

    def nodes(self) -> Iterator[Node]:
        stack = [*self.top]
        while stack:
            node = stack.pop()
            yield node
            stack += node.members
            stack += [node.fallback] if node.fallback else []

    def named(self, name: str) -> Node:
        nodes = {node.name: node for node in self.nodes()}
        assert name in nodes, f"there is no step {name}"
        return nodes[name]

    @staticmethod
    def _steps_of(plan: Plan, around: Node | None, n: int) -> list[Node]:
        path, order = (around.name + "/", around.order) if around else ("", ())
        return [
            Node(path + step.id, step, (*order, at), n, around=around)
            for at, step in enumerate(in_order(plan))
        ]

    def _siblings(self, node: Node) -> dict[str, Node]:
        members = node.around.members if node.around else self.top
        return {each.step.id: each for each in members}

    # What may start, and what never will

    def fate(self, node: Node) -> str:
        """Return STARTS, WAITS, BLOCKED or LEFT for a pending step."""
        if self._is_stopped(node):
            return BLOCKED
        if node.role != "step":
            return STARTS
        others = self._siblings(node)
        choice = self._chosen(node, others.get(node.step.router))
        ends = [others[one].state for one in node.step.after]
        return joined(node.step, ends) if choice == STARTS else choice

    @staticmethod
    def _chosen(node: Node, router: Node | None) -> str:
        if router is None or (router.state == DONE and node.step.id in router.chosen):
            return STARTS
        if router.state in {PENDING, OPEN}:
            return WAITS
        return BLOCKED if router.state in BAD else LEFT

    def _is_stopped(self, node: Node) -> bool:
        """Return True if the failure of a sibling keeps it from starting."""
        if node.role == "fallback":
            return False
        around = node.around
        if around is None:
            return self.plan.on_failure == "abort" and self._failed(self.top)
        stops = around.step.items.stop if around.is_list else (
            around.step.plan.on_failure != "continue"
        )  # fmt: skip
        return stops and self._failed(around.members)

    @staticmethod
    def _failed(nodes: list[Node]) -> bool:
        return any(node.state == FAILED for node in nodes)

    def look(self) -> None:
        """Note which steps may start now; those that do start at the same time."""
        self.settle()
        self.due = {node.name for node in self.nodes() if self.may_start(node)}

    def may_start(self, node: Node) -> bool:
        return (
            node.state == PENDING
            and not self.is_ending()
            and not self.is_halted
            and self.fate(node) == STARTS
        )

    def is_ending(self) -> bool:
        aborts = self.plan.on_failure == "abort" and self._failed(self.top)
        return bool(self.end_asked or self.end_of_run or aborts)

    # What happens

    def released(self, name: str) -> str:
        """Take a step whose turn has come; return its state after that."""
        node = self.named(name)
        assert node.state == PENDING, f"{name} starts twice"
        assert name in self.due, f"{name} starts too early: {self.fate(node)}"
        self._check_turn(node)
        if node.members:
            self._reopened(node)
            return OPEN
        when = self._when(node)
        if when is not True:
            self._becomes(node, FAILED if when is None else LEFT, falls_back=False)
        elif node.is_container:
            self._opened(node)
        elif node.step.kind == "choose":
            node.chosen, state = self._choice(node)
            self._becomes(node, state)
        elif node.step.wait == "past":
            self._becomes(node, DONE)
        else:
            node.state = OPEN
            line = self.lines.setdefault(node.step.key, [])
            line += [name] if name not in line else []
        return node.state

    def _check_turn(self, node: Node) -> None:
        """Check the order of a plan without `parallel`."""
        if self.plan.parallel != 1:
            return
        first = min(each.order for each in self.nodes() if self.may_start(each))
        assert node.order == first, f"{node.name} starts before {first}"
        at_work = [each.name for each in self.nodes() if each.work]
        assert not at_work, f"{node.name} starts while there is {at_work}"

    def _opened(self, node: Node) -> None:
        node.state = OPEN
        if node.is_list:
            node.members = [
                Node(f"{node.name}[{at}]", node.step, (*node.order, at),
                     at, "item", node)
                for at in range(node.step.items.count)
            ]  # fmt: skip
        else:
            node.members = self._steps_of(node.step.plan, node, node.n_input)
            self._check_items(node)

    def _reopened(self, node: Node) -> None:
        """Continue a list or sub-plan after a resume: what failed is tried again."""
        node.state = OPEN
        self._again(node.members)
        if not node.is_list:
            self._check_items(node)

    def works(self, name: str, work: str) -> None:
        """Note what an open leaf does; "works" is the start of an attempt."""
        node = self.named(name)
        assert node.state == OPEN, f"{name} is {node.state}"
        if work == "works":
            assert node.work == "ready", f"{name} starts twice"
            assert not self.is_halted, f"{name} starts in a paused run"
            assert not self.is_ending(), f"{name} starts in a run that ends"
            assert not self._is_stopped(node), f"{name} starts after a failure"
        node.work = work
        self.is_halted = self.is_halted or work == "unknown"
        if (key := node.step.key) and work != "queued":
            place = self.lines[key].index(name)
            assert place < KEYS[key], f"{name} is not first: {self.lines[key]}"
        busy = [each for each in self.nodes() if each.work == "works"]
        assert self.plan.parallel == 0 or len(busy) <= self.plan.parallel, busy
        if work == "works":
            self._check_items(node)

    @staticmethod
    def _check_items(node: Node) -> None:
        """Check `max` of the lists around a step that has just started."""
        while node.around:
            around = node.around
            if around.is_list and (most := around.step.items.max):
                running = [each.name for each in around.members if is_running(each)]
                assert len(running) <= most, f"too many items: {running}"
            node = around

    def back(self, name: str) -> None:
        """Note that an open step has to be released again."""
        node = self.named(name)
        node.state, node.work = PENDING, ""

    def ends(self, name: str, state: str, n: int | None = None) -> None:
        """Note the end of an open leaf."""
        node = self.named(name)
        assert node.state == OPEN, f"{name} ends twice"
        assert not node.is_container, f"{name} ends before its members"
        node.n = n
        self._becomes(node, state)

    def _becomes(self, node: Node, state: str, falls_back: bool = True) -> None:
        node.state, node.work = state, ""
        if node.name in (line := self.lines.get(node.step.key, [])):
            line.remove(node.name)
        can_fall = node.step.has_fallback and not node.is_container
        if node.role == "fallback":
            node.around.n = node.n
            self._becomes(node.around, state, falls_back=False)
        elif state == FAILED and can_fall and falls_back and not self.is_cancelled:
            node.state = OPEN
            node.fallback = Node(
                f"{node.name}.fallback", node.step, (*node.order, 0), node.n_input,
                "fallback", node,
            )  # fmt: skip
        if state == REJECTED and not self.end_asked:
            self.end_asked = "rejected"

    # Conditions

    def _when(self, node: Node) -> bool | None:
        asked = node.step.when
        by_item = asked is not None and asked.about == "index"
        if asked is None or node.role == "fallback":
            return True
        if node.step.items and node.is_list == by_item:
            return True
        return self._truth(node, asked)

    def _truth(self, node: Node, asked: Asked) -> bool | None:
        """Return what a condition says; None if it cannot be evaluated."""
        if asked.about in {"index", "input"}:
            return node.n_input > asked.above
        other = self._siblings(node)[asked.step]
        if asked.about == "end":
            return other.state == DONE
        return None if other.state != DONE or other.n is None else other.n > asked.above

    def _choice(self, node: Node) -> tuple[tuple[str, ...], str]:
        for asked, targets in node.step.rules:
            truth = True if asked is None else self._truth(node, asked)
            if truth is not False:
                return ((), FAILED) if truth is None else (targets, DONE)
        return (), DONE

    # What follows

    def settle(self) -> None:
        """Derive all that follows from what has happened."""
        self._halt()
        while self._first(self._closes) or self._first(self._is_skipped):
            self._halt()
        if not self.end_of_run and (end := self._end()):
            self.end_of_run = end
            self._cancel()

    def _cancel(self) -> None:
        """Cancel what has not finished when the run ends, but an unknown outcome."""
        for node in reversed([*self.nodes()]):  # members before what they belong to
            parts = [*node.members, *([node.fallback] if node.fallback else [])]
            is_open = any(part.state not in ENDED for part in parts)
            if node.state in ENDED or is_open or node.work == "unknown":
                continue
            was_open = node.members and node.state == OPEN
            node.state = verdict(node) if was_open else CANCELLED

    def _halt(self) -> None:
        """Pause after a failure, if the plan does."""
        if self.plan.on_failure == "pause" and self._failed(self.top):
            self.is_halted = True

    def _first(self, change: Callable[[Node], bool]) -> bool:
        return any(map(change, [*self.nodes()]))

    def _closes(self, node: Node) -> bool:
        """End a list or sub-plan whose members have ended; return True if it has."""
        if node.state != OPEN or not node.is_container or not all_ended(node.members):
            return False
        self._becomes(node, verdict(node))
        node.n = node.n_input
        if node.is_list:
            node.n = [each.state for each in node.members].count(DONE)
        return True

    def _is_skipped(self, node: Node) -> bool:
        """Skip a step that will not run; return True if it will not."""
        before = node.state
        if self.is_halted or self.is_ending():
            return False  # nothing is skipped before the run goes on
        if before == PENDING and (fate := self.fate(node)) in {BLOCKED, LEFT}:
            node.state = fate
        elif before == OPEN and node.work != "works" and self._is_withdrawn(node):
            self._becomes(node, BLOCKED)
        return node.state != before

    def _is_withdrawn(self, node: Node) -> bool:
        """Return True for what was released and not begun when a sibling failed."""
        is_leaf = not node.is_container and not node.fallback
        return node.around is not None and is_leaf and self._is_stopped(node)

    def _end(self) -> str:
        """Return how the run ends, or "" if it goes on."""
        nodes = [*self.nodes()]
        if any(node.work == "works" for node in nodes):
            return ""
        if self.end_asked or self.is_halted:
            return self.end_asked
        if self.is_ending():
            return "failed"
        ends = {node.state for node in self.top}
        if not ends <= ENDED or not ends & BAD:
            return "succeeded" if ends <= ENDED else ""
        some = any(node.state == DONE for node in nodes)
        return "partially_succeeded" if some else "failed"

    @property
    def is_cancelled(self) -> bool:
        return self.end_asked == "cancelled"

    # What users do to the run

    def resumed(self) -> None:
        """Continue a paused run: what failed is tried again."""
        self.is_halted = False
        if self.plan.on_failure == "pause":
            self._again(self.top)

    @staticmethod
    def _again(nodes: list[Node]) -> None:
        for node in nodes:
            if node.state in {FAILED, BLOCKED}:
                node.state = PENDING
