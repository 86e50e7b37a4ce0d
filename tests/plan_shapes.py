"""What a random plan consists of, known to its generator and its reference."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Asked:
    """A condition: the output `n` or the end of a step, an input, or the index."""

    about: str  # "end", "n", "input" or "index"
    step: str = ""
    above: int = 0

    def as_cel(self, each: bool = False) -> str:
        match self.about:
            case "input":
                return f"inputs.n > {self.above}"
            case "index":
                return f"index > {self.above}"
            case "end":
                return f'steps.{self.step}.state == "succeeded"'
        field = "succeeded" if each else "n"
        return f"steps.{self.step}.output.{field} > {self.above}"


@dataclass(frozen=True)
class Items:
    """`forEach` over the numbers below `count`."""

    count: int
    join: str = "all"  # "all", "any" or a number
    stop: bool = True
    max: int = 0


@dataclass(frozen=True)
class Step:
    """A step of a plan, without what its action will do."""

    id: str
    kind: str = "skill"  # or "approval", "input", "wait", "choose", "plan"
    after: tuple[str, ...] = ()
    needed: str = "all"  # "all", "done" or a number of successes
    when: Asked | None = None
    router: str = ""
    rules: tuple[tuple[Asked | None, tuple[str, ...]], ...] = ()
    items: Items | None = None
    plan: "Plan | None" = None
    wait: str = ""  # "time", "past" or "event"
    has_gate: bool = False
    has_fallback: bool = False
    key: str = ""  # of its concurrency
    retries: int = 0


@dataclass(frozen=True)
class Plan:
    """A plan or sub-plan; the order of `steps` is that of the document."""

    steps: tuple[Step, ...]
    on_failure: str = "pause"
    parallel: int = 1  # 0: without a limit


def step_of(plan: Plan, name: str) -> Step:
    """Return a step by its id."""
    return next(step for step in plan.steps if step.id == name)
